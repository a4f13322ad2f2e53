"""Third-party generators in the forms for devices: `export --for portable` and `export --format c`.

    python -m benchmarks.device_forms
    python -m benchmarks.device_forms --write docs/devices.md

Each of the six architectures of `benchmarks/third_party_generators.py` is built as three different
generators. The portable file is compared with the ordinary file on 64 seeds. The C code is compiled and
compared with its golden images. A generator that a form does not take is shown with the operator, and
`--for webgpu` is tried in place of `--for portable`. The exit code is 1 if an image differs by more than a
level, or if a form that a generator takes on one day is refused on another.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from benchmarks.generators import replace_tables
from benchmarks.third_party_generators import GENERATORS, build
from ganport.export import export, export_file
from ganport.export.errors import TargetError
from ganport.runtime import Sampler
from ganport.runtime.files import write_bytes

VARIANTS: Mapping[str, Mapping[str, int]] = {
    "grey": {"channels": 1},
    "colour": {"channels": 3},
    "another size": {"doublings": 3},
}
# Architectures with operators that the portable form does not have.
NOT_PORTABLE = ("self-attention", "residual")
BEGIN = "<!-- begin: device_forms -->"
_SEEDS = range(64)


def try_portable(model: keras.Model, folder: Path) -> tuple[str, int]:
    """Export a generator for `portable`, and return a text for the table and the largest difference."""
    export(model, folder / "ordinary.onnx", overwrite=True)
    target, refused = "portable", ""
    try:
        export(model, folder / "portable.onnx", target="portable", overwrite=True)
    except TargetError as error:
        operator = re.search(r"the operator (\w+)", str(error))
        refused = f"{operator[1] if operator else error}; "
        target = "webgpu"
        export(model, folder / "portable.onnx", target="webgpu", overwrite=True)
    with Sampler(folder / "ordinary.onnx") as ordinary, Sampler(folder / "portable.onnx") as portable:
        difference = np.abs(ordinary.sample(_SEEDS).astype(int) - portable.sample(_SEEDS))
    off = int((difference > 0).sum())
    return f"{refused}{target}: {off} of {difference.size:,} values off", int(difference.max())


def try_c(model: keras.Model, folder: Path) -> tuple[str, bool]:
    """Export a generator as C source, and return a text for the table and whether the self-test passed."""
    facts = export_file(model, folder / "generator.c", file_format="c", overwrite=True).c_source
    assert facts is not None
    found = re.search(r"(\d+) of (\d+) values differ", facts.selftest)
    off = f"{found[1]} of {int(found[2]):,} values off" if found else facts.selftest
    return f"{off}; {facts.flash / 1e6:.2f} MB, {facts.ram / 1e3:.0f} KB", "passed" in facts.selftest


def main() -> None:
    """Export all generators, and print the table."""
    parser = argparse.ArgumentParser(description="Export third-party generators in the forms for devices.")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table in a page, too")
    arguments = parser.parse_args()
    lines = [
        "| generator | images | `--for portable` | `--format c`; flash, RAM |",
        "| --- | --- | --- | --- |",
    ]
    is_good = True
    with tempfile.TemporaryDirectory() as name:
        for kind in GENERATORS:
            for variant, sizes in VARIANTS.items():
                model = build(kind, **sizes)
                height, width, channels = model.output_shape[1:]
                print(f"{kind}, {variant}", file=sys.stderr)
                portable, largest = try_portable(model, Path(name))
                source, passed = try_c(model, Path(name))
                lines.append(f"| {kind} | {height}x{width}x{channels} | {portable} | {source} |")
                expected = "webgpu" if kind in NOT_PORTABLE else "portable"
                is_good &= largest <= 1 and passed and f"{expected}:" in portable
    table = "\n".join(lines)
    print(table)
    if arguments.write is not None:
        page = arguments.write.read_text(encoding="utf-8")
        write_bytes(arguments.write, replace_tables(page, table, BEGIN).encode())
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
