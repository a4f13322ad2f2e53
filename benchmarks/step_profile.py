"""The time of a training step by kind of operation, measured with TensorFlow's profiler.

    python -m benchmarks.step_profile

Each recipe runs as published on the CPU. The output has milliseconds per step, and the share of each kind in
the time of all operations. Operations may run at the same time, so the sum of their times may differ from the
time of the step.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402

from benchmarks.training import CASES, IMAGES, case_recipe, our_loop  # noqa: E402

STEPS = 20

# Patterns for the types of operations, by kind. The first matching pattern decides. A type is TensorFlow's
# name of an operation, or a name in code that XLA compiled.
KINDS = {
    "matrix products": r"MatMul|Einsum|^dot",
    "convolutions": r"Conv2D|^conv",
    "pooling": r"Pool|select-and-scatter|reduce-window",
    "random numbers": r"Random|^rng|Philox",
}
REST = "elementwise, sums, optimiser, copies"
_WHOLE = r"__inference_.*|while|conditional"  # types that contain operations with events of their own


def operation_type(event: str) -> str | None:
    """Return the type of the operation that a profiler event records, or None if it records no operation.

    >>> operation_type("chunk/while/MatMul_1:_MklMatMul"), operation_type("MatMul_1.54")
    ('_MklMatMul', 'MatMul_1')
    >>> operation_type("Thunk::Execute") is None
    True
    """
    operation = re.fullmatch(r"[^:]+:(\w+)", event) or re.fullmatch(r"([\w-]+?)(\.\d+)+", event)
    return operation[1] if operation and not re.fullmatch(_WHOLE, operation[1]) else None


def kind_of(operation: str) -> str:
    """Return the kind of an operation, a key of KINDS or REST, from the type of the operation."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, operation)), REST)


def read_kinds(folder: Path) -> Counter[str]:
    """Return the time in picoseconds of each kind of operation, from the files of the profiler."""
    space = xplane_pb2.XSpace()
    for file in folder.rglob("*.xplane.pb"):
        space.ParseFromString(file.read_bytes())
    kinds: Counter[str] = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                operation = operation_type(plane.event_metadata[event.metadata_id].name)
                if operation:
                    kinds[kind_of(operation)] += event.duration_ps
    return kinds


def profile(name: str, batch_size: int, shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    run = our_loop(case_recipe(name, batch_size, shape), images)
    run(3)
    started = time.perf_counter()
    run(STEPS)
    milliseconds = (time.perf_counter() - started) / STEPS * 1e3
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3, python_tracer_level=0)
        with tf.profiler.experimental.Profile(folder, options):
            run(STEPS)
        kinds = read_kinds(Path(folder))
    print(f"{name}, batch {batch_size}, {'x'.join(map(str, shape))}: {milliseconds:.1f} ms per step")
    for kind, picoseconds in kinds.most_common():
        print(f"  {picoseconds / kinds.total():5.0%}  {kind}", flush=True)


if __name__ == "__main__":
    for case in CASES:
        profile(*case)
