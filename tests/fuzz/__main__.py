"""The command line of the fuzzer: `python -m tests.fuzz`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ganport.runtime.files import cache_folder

from .driver import KINDS, Result, fuzz_target, run_input
from .target import TARGETS

_HEADINGS = ("target", "inputs", "s", "reached", "kept", *KINDS)


def main() -> int:
    """Run the targets, print a table and the findings, and return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--targets", nargs="*", default=[], choices=TARGETS, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60, help="time for each target")
    parser.add_argument("--inputs", type=int, default=10**9, help="largest number of inputs for each target")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--cache", type=Path, default=(cache_folder() or Path()) / "fuzz")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run the input of a finding again")
    given = parser.parse_args()
    if given.reproduce is not None:
        return _reproduce(given.reproduce)
    print("".join(heading.rjust(14 if index == 0 else 11) for index, heading in enumerate(_HEADINGS)))
    results = []
    for target in given.targets or TARGETS:
        results.append(
            fuzz_target(target, given.cache, inputs=given.inputs, seconds=given.seconds, seed=given.seed)
        )
        _print_row(results[-1])
    findings = [finding for result in results for finding in result.findings]
    for finding in findings:
        lines = finding.text.strip().splitlines()
        print(f"\n{finding.target}: {finding.kind}: {lines[-1] if lines else ''}\n  {finding.command}")
        print(f"  {finding.path.with_suffix('.txt')}")
    return 1 if findings else 0


def _print_row(result: Result) -> None:
    counts = [result.count(kind) for kind in KINDS]
    cells = [
        f"{result.inputs:,}",
        f"{result.seconds:.0f}",
        f"{result.reached:,}",
        f"{result.kept:,}",
        *map(str, counts),
    ]
    print(result.target.rjust(14) + "".join(cell.rjust(11) for cell in cells), flush=True)


def _reproduce(path: Path) -> int:
    folder = path.parents[1]
    status, output, errors = run_input((folder / "target").read_text(), folder, path)
    print(errors or f"the input ends well: {output}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
