#!/usr/bin/env python3
"""clients BUILD CASE... - real programs, none of them changed, against real servers, in a world of their own.

TAP: a test is a program in a case. The cases are in cases.py, the programs and what is expected of each in
programs.py, the servers in servers.py. CMM_TEST_CLIENTS: all, also the heavy ones; none, nothing here; or names of programs,
separated by commas. What is missing is skipped aloud. The lines that begin with `#|` are the table's: program, case, what
happened, what is expected; tools/test puts those of all cases together.
"""

import os
import sys
import traceback

import world as worlds
from cases import CASES, Wrong
from programs import PROGRAMS
from servers import have, lacking, serve

count, failed = 0, 0


def report(good, text, skipped="", said=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {text}" + (f" # SKIP {skipped}" if skipped else ""))
    for line in said.splitlines():
        print("#   " + line)
    sys.stdout.flush()


def unable(world, program, asked):
    if program.heavy and asked == "":
        return "heavy: runs with tools/test --clients=all"
    for need in program.needs:
        if not have(need):
            return f"{need} is not installed"
    return lacking(program.server, world)


def one(world, program, case):
    perform, expected = CASES[case]
    text = f"{program.name}: {case}"
    said = ""
    try:
        happened = perform(world, program)
        if happened is None:
            return
        report(True, text)
    except worlds.Skip as skip:
        happened = "skipped"
        report(True, text, str(skip))
    except (Wrong, AssertionError) as wrong:
        happened, said = "NOT AS EXPECTED", str(wrong)
        report(False, text, said=said)
    except Exception:
        happened, said = "BROKEN", traceback.format_exc()
        report(False, text, said=said)
    print(f"#| {program.name} | {case} | {happened} | {program.why.get(case, expected)}")
    sys.stdout.flush()


def choose(world, cases, asked):
    """The programs that can be run here; the others are skipped aloud."""
    named = asked.split(",") if asked not in ("", "all") else None
    able = []
    for program in PROGRAMS:
        why = unable(world, program, asked)
        if (named and program.name not in named) or not any(program.commands()[case] for case in cases):
            continue
        if why:
            report(True, program.name, why)
            print(f"#| {program.name} | {' '.join(cases)} | skipped | {why}")
        else:
            able.append(program)
    return able


def main():
    build, cases = sys.argv[1], sys.argv[2:]
    asked = os.environ.get("CMM_TEST_CLIENTS", "")
    if asked == "none":
        raise worlds.Skip("they run in another build of this run")
    worlds.enter()
    world = worlds.World(build)
    if "mptcp" in cases:
        world.speak_multipath()
    able = choose(world, cases, asked)
    if able:
        serve(world, {p.server for p in able})
        world.start()
    for case in cases:
        for program in able:
            one(world, program, case)
    print(f"1..{count}")


try:
    main()
except worlds.Skip as skip:
    print(f"1..0 # SKIP {skip}")
