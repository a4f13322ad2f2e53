"""Compiling and running the self-test of C code, with the C compiler of this machine if it has one."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import VerificationError

# Compiling at this level is faster than at -O3, and the images are the same.
_OPTIMISATION = "-O1"


@dataclasses.dataclass(frozen=True)
class Tested:
    """The result of a self-test.

    Attributes:
        compiler: Name of the compiler; empty if there is none.
        output: What the self-test printed, or why it could not be compiled.
    """

    compiler: str
    output: str


def find_compiler() -> str | None:
    """Return the C compiler of this machine: the one that the variable CC names, or cc, gcc or clang."""
    named = os.environ.get("CC", "")
    return next(
        (found for each in (named, "cc", "gcc", "clang") if each and (found := shutil.which(each))), None
    )


def compile_and_test(source: Path) -> Tested:
    """Compile a C file with its self-test, run it, and return what it said.

    Raises:
        VerificationError: The images differ from the golden images.
    """
    compiler = find_compiler()
    if compiler is None:
        return Tested("", "")
    program = source.with_name("selftest.exe")
    command = [
        compiler,
        "-std=c99",
        _OPTIMISATION,
        "-DGANPORT_SELFTEST",
        str(source),
        "-o",
        str(program),
        "-lm",
    ]
    name = Path(compiler).name
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (the user's)
    if compiled.returncode:
        lines = compiled.stderr.strip().splitlines() or ["no message"]
        return Tested(name, f"not compiled ({lines[0]})")
    ran = subprocess.run([str(program)], capture_output=True, text=True, check=False)  # noqa: S603 (our code)
    output = ran.stdout.strip()
    if ran.returncode:
        found = re.search(r"(\d+) of (\d+) values differ", output)
        differing, total = (int(found[1]), int(found[2])) if found else (1, 1)
        raise VerificationError(
            f"the share of pixels of the golden images that differ in the C code, compiled by {name},",
            differing / total,
            1e-4,
            f"the self-test said: {output or 'nothing'}",
        )
    return Tested(name, output)
