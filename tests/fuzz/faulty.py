"""A target that fails in each way that the driver must notice, for the test of the driver."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from random import Random

from .target import Target


def _fail() -> None:
    raise ValueError("in a thread")


class FaultyTarget(Target):
    """Fails if an input holds a certain letter."""

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        return b"a" + rng.choices((b"a", b"e", b"m", b"t", b"c", b"h"), (280, 6, 6, 6, 1, 1))[0] + b"a"

    def examples(self) -> Iterable[bytes]:
        yield b"aa"

    def run(self, content: bytes) -> None:
        if b"e" in content:
            raise KeyError("missing")
        if b"c" in content:
            os.abort()
        if b"m" in content:
            bytearray(2 * 10**9)
        if b"t" in content:
            thread = threading.Thread(target=_fail)
            thread.start()
            thread.join()
        while b"h" in content:
            pass
