#!/usr/bin/env python3
"""table LOG - from a meson testlog.json: what each real program has done in each case, and what was expected of it."""

import json
import sys

ORDER = ("still", "late", "lost", "again", "reconnect", "mptcp")
rows, reasons = {}, {}
with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
    tests = [json.loads(line) for line in log]
for line in "\n".join(t.get("stdout") or "" for t in tests).splitlines():
    if not line.startswith("#| "):
        continue
    program, case, happened, expected = line[3:].split(" | ", 3)
    for case in case.split():
        rows.setdefault(program, {})[case] = happened
        if happened != "skipped":
            reasons.setdefault((ORDER.index(case), expected), []).append(program)
if rows:
    cases = [case for case in ORDER if any(case in row for row in rows.values())]
    cells = [["program", *cases]] + [[program, *(row.get(case, "-") for case in cases)] for program, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print("Expected, from the contract:")
    for (case, expected), programs in sorted(reasons.items()):
        usual = sum(ORDER[case] in row for row in rows.values()) < 2 * len(programs)
        print(f"  {ORDER[case]}: {expected}" + ("" if usual else f" ({', '.join(programs)})"))
