"""The benchmark that disturbs commands: it finds each kind of problem, and none in a command without one."""

import hashlib
import signal
import sys

import pytest

from benchmarks.chaos import FAULTS, Case, Chaos

SIZE = 100_000  # bytes; more than the fault "file size limit" allows
WHOLE = {".": hashlib.sha256(b"a" * SIZE).hexdigest()[:16]}
FILE_SIZE_LIMIT = FAULTS[0]

# A program that replaces its output as a whole, and says in one line why it can't.
PROGRAM = """
import os, pathlib, sys, time
out = pathlib.Path(sys.argv[1])
part = out.with_name(".x.part")
try:
    part.write_bytes(b"a" * 100_000)
    part.replace(out)
except OSError as error:
    part.unlink()
    sys.exit(f"error: {error.strerror}")
"""


def case(program, again=PROGRAM):
    return Case(
        "program", ("-c", program, "{out}"), "x.bin", ("-c", again, "{out}"), command=[sys.executable]
    )


def test_a_command_that_replaces_its_output_has_no_problem(tmp_path):
    chaos = Chaos(tmp_path)
    results, files, seconds = chaos.reference(case(PROGRAM))
    assert (results, files) == (WHOLE, {"x.bin"})
    assert seconds > 0
    trial = chaos.break_(case(PROGRAM), FILE_SIZE_LIMIT, (results, files))
    assert trial.problems == []
    assert trial.ended.status == 1


@pytest.mark.parametrize(
    ("changes", "again", "problem"),
    [
        ({"    part.unlink()\n": ""}, PROGRAM, "left: .x.part"),
        (
            {"    sys.exit": "    print('error: first', file=sys.stderr)\n    sys.exit"},
            PROGRAM,
            "2 lines of error",
        ),
        ({"except OSError": "except KeyError"}, PROGRAM, "Traceback"),
        ({"error: {": "{"}, PROGRAM, "no line of error"),
        ({"    sys.exit": "    os._exit(3)\n    sys.exit"}, PROGRAM, "exit code 3"),
        ({}, PROGRAM.replace('b"a"', 'b"b"'), "other bytes"),
        ({}, "raise SystemExit('error: no')", "not completed (1): error: no"),
        ({}, f"open('y.part', 'w'){PROGRAM}", "left at the end: y.part"),
    ],
)
def test_each_kind_of_problem_is_found(tmp_path, changes, again, problem):
    program = PROGRAM
    for old, new in changes.items():
        assert old in program
        program = program.replace(old, new)
    trial = Chaos(tmp_path).break_(case(program, again), FILE_SIZE_LIMIT, (WHOLE, {"x.bin"}))
    assert problem in trial.problems


def test_a_killed_command_is_completed(tmp_path):
    waiting = "import sys, time; open(sys.argv[1], 'w').write('half'); time.sleep(600)"
    expected = WHOLE, {"x.bin"}
    trial = Chaos(tmp_path).kill(case(waiting), signal.SIGKILL, 0.5, expected)
    assert trial.problems == []
    assert trial.ended.status == -signal.SIGKILL
    trial = Chaos(tmp_path).kill(case(waiting, waiting.replace("600", "0")), signal.SIGTERM, 0.5, expected)
    assert trial.problems == ["other bytes"]
