"""The engines in C: the source of `ganport export --format c` on this machine, and on an emulated Cortex-M7.

The program in `device_program/` prints the images as hexadecimal digits, and the time of further runs. On the
emulated Cortex-M7 the unit of time is one instruction.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.device_models import export_form
from benchmarks.device_packages import NotAvailableError, debian_packages, find_program, run_quietly
from benchmarks.device_results import Case, Generated, Pixels

PROGRAM = Path(__file__).with_name("device_program")
COMPILE_S = 300.0
RUN_S = 600.0
HOST_RUNS = 50
HOST_FLAGS = ("-std=c99", "-O3", "-march=native")
CORTEX_M7_FLAGS = (
    "-std=c99", "-O2", "-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16",
    "-ffunction-sections", "-fdata-sections", "-nostartfiles", "-Wl,--gc-sections",
)  # fmt: skip
# `-icount shift=0` lets the emulated clock advance by a nanosecond per instruction.
QEMU_OPTIONS = (
    "-display", "none", "-monitor", "none", "-serial", "none", "-icount", "shift=0",
    "-chardev", "stdio,id=text", "-semihosting-config", "enable=on,target=native,chardev=text",
)  # fmt: skip


class Printed(NamedTuple):
    """What the program printed.

    Attributes:
        images: Images of the case's seeds, uint8 (seeds, height, width, channels).
        clock: Median of the measured runs: nanoseconds, or instructions.
        stack: Bytes of stack that were used.
    """

    images: Pixels
    clock: float
    stack: int


class CortexM7(NamedTuple):
    """Programs for the Cortex-M7.

    Attributes:
        compiler: Compiler with its options.
        size: Program that prints the sizes of sections.
        qemu: Emulator with its options.
        env: Variables of the environment that the programs need.
    """

    compiler: list[str | Path]
    size: Path
    qemu: list[str | Path]
    env: Mapping[str, str]


def prepare_host() -> str:
    """Return the path of a C compiler for this machine."""
    return find_program("gcc", "clang", "cc")


def run_host(case: Case) -> Generated:
    """Return images of the C source on this machine, on one thread."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export_form(case, folder / "generator.c", "--format", "c")
        program = folder / "program"
        build(case, [prepare_host(), *HOST_FLAGS], folder, "host.c", program, runs=HOST_RUNS)
        printed = read_output(run_quietly([program], limit_s=RUN_S), case)
        return Generated(printed.images, printed.clock / 1e6, program.stat().st_size)


@functools.cache
def prepare_cortex_m7() -> CortexM7:
    """Return the programs for the Cortex-M7. What the system lacks is downloaded and unpacked."""
    programs = [shutil.which(name) for name in ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")]
    gcc, size, qemu = (Path(program) if program else None for program in programs)
    folders = []
    options: list[str | Path] = []
    if gcc is None or size is None:
        tools = debian_packages("arm-none-eabi", "gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
        folders.append(tools)
        gcc, size = (tools / "usr" / "bin" / name for name in ("arm-none-eabi-gcc", "arm-none-eabi-size"))
        # The compiler looks for the C library in the system's folders, and not in those beside it.
        library = tools / "usr" / "lib" / "arm-none-eabi" / "newlib"
        options = ["-isystem", tools / "usr" / "include" / "newlib", "-L", library / "thumb/v7e-m+dp/hard"]
    emulator = ["-M", "mps2-an500"]
    if qemu is None:
        system = debian_packages("qemu-system", "qemu-system-arm")
        folders.append(system)
        qemu = system / "usr" / "bin" / "qemu-system-arm"
        emulator += ["-L", str(system / "usr" / "share" / "qemu")]
    libraries = sorted({str(path.parent) for folder in folders for path in folder.rglob("*.so.*")})
    env = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}
    return CortexM7([gcc, *CORTEX_M7_FLAGS, *options], size, [qemu, *emulator, *QEMU_OPTIONS], env)


def run_cortex_m7(case: Case) -> Generated:
    """Return images of the C source with float32 weights on the emulated Cortex-M7."""
    return _run_cortex_m7(case, "float32")


def run_cortex_m7_float16(case: Case) -> Generated:
    """Return images of the C source with float16 weights on the emulated Cortex-M7."""
    return _run_cortex_m7(case, "float16")


def run_cortex_m7_int8(case: Case) -> Generated:
    """Return images of the C source with int8 weights on the emulated Cortex-M7."""
    return _run_cortex_m7(case, "int8")


def _run_cortex_m7(case: Case, precision: str) -> Generated:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        allow = ["--allow-loss"] if precision == "int8" else []
        export_form(case, folder / "generator.c", "--format", "c", "--precision", precision, *allow)
        return emulate_cortex_m7(case, folder)


def emulate_cortex_m7(case: Case, folder: Path) -> Generated:
    """Return images of the files generator.h and generator.c of a folder on the emulated Cortex-M7."""
    tools = prepare_cortex_m7()
    program = folder / "program.elf"
    compiler = [*tools.compiler, "-T", PROGRAM / "memory.ld"]
    build(case, compiler, folder, "cortex_m7.c", program, runs=1, env=tools.env)
    output = run_quietly([*tools.qemu, "-kernel", program], limit_s=RUN_S, env=tools.env)
    printed = read_output(output, case)
    sizes = run_quietly([tools.size, program], limit_s=COMPILE_S, env=tools.env).splitlines()[1].split()
    text, data, bss = (int(size) for size in sizes[:3])
    ram = data + bss + printed.stack
    note = f"{ram / 1000:,.0f} KB RAM, {printed.clock / 1e6:,.3g} M instructions"
    return Generated(printed.images, None, text + data, note)


def build(
    case: Case, compiler: Sequence[str | Path], folder: Path, machine: str, program: Path, *, runs: int,
    env: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Compile the program with the files generator.h and generator.c of a folder.

    Args:
        case: The case, whose seeds the program generates.
        compiler: Compiler with its options.
        folder: Folder with the generator's files.
        machine: Name of the file in `device_program/` for the machine.
        program: Path of the program.
        runs: Number of runs that are measured.
        env: Variables of the environment that the compiler needs.
    """
    contract = case.contract
    height, width, channels = contract.image.shape
    facts = {
        "LATENTS": contract.input.dim,
        "VALUES": height * width * channels,
        "LABELS": len(contract.input.labels or ()),
        "SEEDS": ",".join(f"{seed}ull" for seed in case.seeds),
        "RUNS": runs,
    }
    sources = [PROGRAM / "main.c", PROGRAM / machine, folder / "generator.c"]
    options = ["-I", folder, "-I", PROGRAM, *(f"-D{name}={value}" for name, value in facts.items())]
    run_quietly([*compiler, *options, *sources, "-o", program, "-lm"], limit_s=COMPILE_S, env=env)


def read_output(text: str, case: Case) -> Printed:
    """Return what the program printed."""
    rows = [bytes.fromhex(row) for row in re.findall(r"^image ([0-9a-f]+)$", text, re.MULTILINE)]
    clocks = [int(clock) for clock in re.findall(r"^clock (\d+)$", text, re.MULTILINE)]
    stack = re.search(r"^stack (\d+)$", text, re.MULTILINE)
    if len(rows) != len(case.seeds) or stack is None:
        raise NotAvailableError(
            f"the program printed {len(rows)} of {len(case.seeds)} images: {text[-100:]!r}"
        )
    images = np.frombuffer(b"".join(rows), np.uint8).reshape(case.golden.shape)
    return Printed(images, float(np.median(clocks)), int(stack[1]))
