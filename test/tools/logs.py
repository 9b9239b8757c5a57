#!/usr/bin/env python3
"""logs SCOUT - under the journal each line says how bad it is; and networks that flap do not fill the log."""

import os
import re
import subprocess
import sys
import tempfile
import time

scout = sys.argv[1]


def run(place, log, *more, **variables):
    command = [scout, "-c", place + "/scout.conf", "--name", place + "/s.sock", *more]
    return subprocess.Popen(command, stderr=log, env=dict(os.environ, **variables))


def until_said(path, text, process):
    while process.poll() is None:
        with open(path) as f:
            said = f.read()
        if text in said:
            return said
        time.sleep(0.02)
    raise AssertionError(f"it ended with {process.returncode}")


def end(process):
    process.terminate()
    assert process.wait(120) == 0


def levels_for_the_journal(place):
    path = place + "/journal"
    with open(path, "w") as log:
        st = os.fstat(log.fileno())
        process = run(place, log, JOURNAL_STREAM=f"{st.st_dev}:{st.st_ino}")
    until_said(path, "listening", process)
    with open(place + "/scout.conf", "a") as f:
        f.write("nonsense\n")
    process.send_signal(1)
    said = until_said(path, "the old one stays", process)
    end(process)
    assert re.search(r"(?m)^<6>listening", said), said
    assert re.search(r"(?m)^<3>.*the old one stays", said), said
    assert not re.search(r"(?m)^(?!<[3467]>)", said.rstrip("\n")), said


def a_name_for_people(place):
    path = place + "/file"
    with open(path, "w") as log:
        process = run(place, log, JOURNAL_STREAM="1:2")  # somebody else's
    said = until_said(path, "listening", process)
    end(process)
    assert all(line.startswith("cmm-scout: ") for line in said.splitlines()), said


def flapping_is_told_in_a_few_lines(place):
    path = place + "/flaps"
    with open(place + "/flap", "w") as f:
        f.write("0 up lab\n0.002 down lab\n0.004 loop\n")
    begun = time.monotonic()
    with open(path, "w") as log:
        process = run(place, log, "--script", place + "/flap")
    said = until_said(path, "more lines like these were left out", process)
    end(process)
    seconds = time.monotonic() - begun
    told = len(re.findall("network lab", said))
    left_out = sum(int(n) for n in re.findall(r"(\d+) more lines", said))
    assert told <= 21 * (seconds + 2), (told, seconds)
    assert left_out > 0


CONFIG = "[network lab]\naddress = 127.0.1.1\n[scout]\nhold-down = 0\n"
for test in (levels_for_the_journal, a_name_for_people, flapping_is_told_in_a_few_lines):
    with tempfile.TemporaryDirectory() as directory:
        with open(directory + "/scout.conf", "w") as config:
            config.write(CONFIG)
        test(directory)
