"""The files of a generator in C: NAME.h, NAME.c, and NAME.json with the contract and its golden images."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx

from ganport.runtime import Contract, Sampler
from ganport.runtime.arrays import Pixels
from ganport.runtime.contract import Precision
from ganport.runtime.files import replacing

from ..errors import SourceSizeError
from ..input_stages import add_label_input
from ..paths import c_files
from ..rewrites import simplify
from ..verified import Verified
from ..writing import GOLDEN_SEEDS, write_with_golden
from .compiling import compile_and_test
from .emission import Code, emit, listed_bytes, selftest
from .planning import Plan, make_plan
from .steps import Layer
from .weights import round_weights

# Limit for the text of the C file. gcc takes about 15 s and 1 GB of memory for this size.
MOST_MEGABYTES = 64
# Characters that a weight takes in the C file, in the mean.
_CHARACTERS = {"float32": 15.5, "float16": 7.0, "int8": 5.0}
_MOST_LISTED = 100  # most names of labels in the comment of the header


@dataclasses.dataclass(frozen=True)
class SourceFacts:
    """What is known about a generator in C.

    Attributes:
        flash: Bytes of its constants: weights, tables, and the normal distribution. The code adds to them.
        ram: Bytes of its static buffers.
        selftest: What the self-test said when it was compiled here; empty if there is no C compiler.
        compiler: Name of the compiler; empty if there is none.
    """

    flash: int
    ram: int
    selftest: str
    compiler: str


def prepare_source(model: onnx.ModelProto, precision: Precision, label_count: int) -> onnx.ModelProto | None:
    """Return the graph with the weights that the C code computes with; None if they are those of the graph.

    Args:
        model: The generator's graph from latents and one-hot codes to floats, in float32.
        precision: Precision of the weights in C.
        label_count: Number of labels; 0 for none.

    Raises:
        UnsupportedOperatorError: There is no C code for an operator.
        SourceSizeError: The C file would be too large.
        PrecisionError: The weights can't be stored in this precision.
    """
    plan = _plan(model, label_count)
    megabytes = _estimated_characters(plan, precision) / 1e6
    if megabytes > MOST_MEGABYTES:
        raise SourceSizeError(megabytes, MOST_MEGABYTES, precision)
    return None if precision == "float32" else round_weights(model, precision)


def write_source(
    verified: Verified, path: Path, *, progress: Callable[[str], object] = lambda line: None
) -> tuple[Contract, SourceFacts]:
    """Write a verified generator as C, and return its contract and what is known about the code.

    If there is a C compiler, the self-test is compiled and run first.

    Args:
        verified: The verified graph. `prepare_source` rounded its weights.
        path: The .c file to write. The header and the contract lie beside it.
        progress: Function that is called with a line of text before each part.

    Raises:
        VerificationError: The compiled code generates other images than the verified graph.
        OutputError: A file can't be written.
    """
    source, precision = verified.source, verified.options.precision
    progress("writing C")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        contract = dataclasses.replace(write_with_golden(verified, model, "onnx"), batch=1)
        images = Sampler(model).sample(GOLDEN_SEEDS)
    plan = _plan(verified.generator, len(source.labels))
    code = emit(plan, precision, dim=source.latent_dim, distribution=source.distribution)
    code_file, header_file, contract_file = c_files(path)
    texts = {
        code_file: source_text(code, contract, images, header_file.name),
        header_file: header_text(code, contract, header_file.stem),
        contract_file: json.dumps(contract.to_dict(), ensure_ascii=False, indent=1) + "\n",
    }
    progress("compiling the self-test")
    with tempfile.TemporaryDirectory() as folder:
        for file, text in texts.items():
            (Path(folder) / file.name).write_text(text, encoding="utf-8")
        tested = compile_and_test(Path(folder) / code_file.name)
    for file, text in texts.items():
        with replacing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return contract, SourceFacts(code.flash, code.ram, tested.output, tested.compiler)


def _plan(model: onnx.ModelProto, label_count: int) -> Plan:
    with_label = simplify(add_label_input(model, label_count)) if label_count else model
    return make_plan(with_label)


def _estimated_characters(plan: Plan, precision: Precision) -> float:
    layers = [step for step in plan.steps if isinstance(step, Layer)]
    return sum(
        layer.weights.size * _CHARACTERS["float32" if layer.is_narrow else precision] for layer in layers
    )


def header_text(code: Code, contract: Contract, name: str) -> str:
    """Return the text of the header.

    Args:
        code: The code.
        contract: The contract of the generator.
        name: Name of the file without its ending.
    """
    image, source = contract.image, contract.input
    labels = source.labels or ()
    guard = f"GANPORT_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_H"
    shape = f"{image.height}x{image.width}x{image.channels}"
    label_lines = "".join(f"\n   {index}: {label}" for index, label in enumerate(labels[:_MOST_LISTED]))
    about = f"""{contract.name}: images of {shape} pixels from {source.dim} latents.
   {contract.created_by} wrote this.

   flash: {code.flash:,} bytes of constants, weights in {contract.precision}; the code adds some kilobytes
   RAM: {code.ram:,} bytes in static arrays, and less than 4 kilobytes of stack

   The functions allocate nothing. Two threads must not call ganport_generate at the same time, since it keeps
   its activations in a static array."""
    if labels:
        about += f"\n\n   Labels:{label_lines}"
    label = "`label` has no meaning, since this generator has no labels."
    if labels:
        label = f"`label` is from 0 to {len(labels) - 1}. Other numbers are taken modulo {len(labels)}."
    return f"""/* {_comment(about)} */
#ifndef {guard}
#define {guard}

#include <stdint.h>

#define GANPORT_LATENTS {source.dim}
#define GANPORT_LABELS {len(labels)}
#define GANPORT_HEIGHT {image.height}
#define GANPORT_WIDTH {image.width}
#define GANPORT_CHANNELS {image.channels}
#define GANPORT_IMAGE_SIZE {image.height * image.width * image.channels}

#ifdef __cplusplus
extern "C" {{
#endif

/* Writes the latents of a seed, GANPORT_LATENTS floats. They are the same on every machine, and those that
   ganport makes. Seeds are below 2^63. */
void ganport_latent(uint64_t seed, float *latent);

/* Writes an image, GANPORT_IMAGE_SIZE bytes: row by row, the channels of a pixel beside each other.
   {label} */
void ganport_generate(const float *latent, int label, uint8_t *image);

#ifdef __cplusplus
}}
#endif

#endif
"""


def source_text(code: Code, contract: Contract, images: Pixels, header: str) -> str:
    """Return the text of the C file.

    Args:
        code: The code.
        contract: The contract of the generator.
        images: Golden images, uint8 (n, height, width, channels).
        header: File name of the header.
    """
    seeds = contract.golden["seeds"]
    count = len(contract.input.labels or ()) or 1
    pixels = images.reshape(len(images), -1)
    golden = ",\n".join(f"{{\n{listed_bytes(image)}}}" for image in pixels)
    arrays = (
        f"static const uint64_t ganport_golden_seeds[{len(seeds)}] = {{{', '.join(map(str, seeds))}}};\n"
        f"static const int ganport_golden_labels[{len(seeds)}] = "
        f"{{{', '.join(str(seed % count) for seed in seeds)}}};\n"
        f"static const uint8_t ganport_golden_images[{len(seeds)}][GANPORT_IMAGE_SIZE] = {{{golden}}};"
    )
    return f"""/* {_comment(contract.name)}. This file is C99 and C++11. The header describes it.

   Compile it with -O3, and with -lm where the mathematical functions are a library of their own. The
   self-test is a program: cc -O3 -DGANPORT_SELFTEST {_comment(header.removesuffix(".h"))}.c -lm

   GANPORT_MEMORY stands before the static arrays in RAM. Define it to give them a section of their own, as
   -DGANPORT_MEMORY='static __attribute__((section(".sram")))'. */
#include "{header}"

#include <math.h>
#include <stddef.h>
#include <string.h>

#ifndef GANPORT_MEMORY
#define GANPORT_MEMORY static
#endif

{code.text}
{selftest(GOLDEN=arrays, IMAGES=str(len(seeds)))}"""


def _comment(text: str) -> str:
    """Return text that can stand in a comment of C."""
    return re.sub(r"\*/|/\*", "* /", text).replace("\\", "/").replace("??", "? ?")
