"""Kinds of generators that are not as expected, for the tests of `benchmarks.generators`."""

import os
import time

import numpy as np

from benchmarks.generators import Built, Kind, NotMeasuredError
from ganport.runtime import to_uint8
from tests.third_party_graphs import DIM, SIDE, chain, expected

GROUP = "Failures"


def right(folder):
    (folder / "generator.onnx").write_bytes(chain(("Tanh", "", {})))
    return Built(folder / "generator.onnx", lambda latents, labels: expected(latents))


def wrong(folder):
    zeros = to_uint8(np.zeros((64, SIDE, SIDE, 1), np.float32))
    return Built(right(folder).path, lambda latents, labels: zeros)


def of_another_shape(folder):
    return Built(right(folder).path, lambda latents, labels: expected(latents)[:, :1])


def with_an_error(folder):
    return Built(right(folder).path, lambda latents, labels: latents @ np.ones(DIM + 1))


def pointer(folder):
    (folder / "generator.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    return Built(folder / "generator.onnx", lambda latents, labels: expected(latents))


def without_torch(folder):
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def on_another_machine(folder):
    raise NotMeasuredError("it needs another machine")


def faulty(folder):
    return folder / 7


def crash(folder):
    os._exit(3)


def hang(folder):
    time.sleep(600)


KINDS = [
    Kind(GROUP, "right", right),
    Kind(GROUP, "wrong", wrong),
    Kind(GROUP, "of another shape", of_another_shape),
    Kind(GROUP, "with an error", with_an_error),
    Kind(GROUP, "crash", crash),
    Kind(GROUP, "pointer", pointer),
    Kind(GROUP, "pointer, rejected", pointer, rejected="run: git lfs pull"),
    Kind(GROUP, "pointer, with another message", pointer, rejected="never said"),
    Kind(GROUP, "right, not rejected", right, rejected="never said"),
    Kind(GROUP, "without torch", without_torch),
    Kind(GROUP, "on another machine", on_another_machine),
    Kind(GROUP, "faulty", faulty),
    Kind(GROUP, "hang", hang),
]
