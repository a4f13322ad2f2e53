"""The limits of what a model file may cost, and the sums that are compared with them."""

from __future__ import annotations

import math
from typing import NamedTuple

from .display import shortened
from .rejection import OverBudgetError

_BYTES_PER_BYTE = 8  # bytes of constants that are allowed for each byte of the file
_WORK_PER_BYTE = 512  # multiply-adds for constants that are allowed for each byte of the file
_LARGEST_NAMED = 2**63  # larger numbers are shown as this one


class Budget(NamedTuple):
    """What a model file may cost.

    The limits leave room for the largest generators in use. docs/sampling.md lists what some of them take.

    Attributes:
        operations: Operations, after each call of a function is replaced by the operations of the function. A
            Constant does not count. onnxruntime optimises some graphs in quadratic time.
        nodes: Operations as the file states them, with each Constant.
        graphs: Graphs, such as the two branches of an If. Each takes onnxruntime about 100 KB of memory.
        fields: Fields of all messages in the file, such as a name, a shape or an attribute. Reading 100,000
            of them takes about 0.2 seconds.
        constant_bytes: Bytes of the tensors in the file, and of the values that onnxruntime computes when it
            opens the file, in addition to 8 times the size of the file. onnxruntime keeps some of them twice.
        constant_work: Multiply-adds that compute these values, in addition to 512 times the size of the file.
            onnxruntime uses one core for them.
        bytes: Bytes of the values that are in memory at the same time, for one image.
        work: Multiply-adds for one image.
    """

    operations: int = 2**12
    nodes: int = 2**14
    graphs: int = 2**10
    fields: int = 2**17
    constant_bytes: int = 2**28
    constant_work: int = 2**33
    bytes: int = 2**31
    work: int = 2**38

    def times(self, factor: float) -> Budget:
        """Return the limits multiplied by a factor."""
        return Budget(*(math.floor(limit * factor) for limit in self))

    def of_file(self, size: int) -> Budget:
        """Return the limits for a file of a size in bytes, whose weights may be converted several times."""
        return self._replace(
            constant_bytes=self.constant_bytes + _BYTES_PER_BYTE * size,
            constant_work=self.constant_work + _WORK_PER_BYTE * size,
        )


class Spending:
    """Sums of what a graph costs. A sum that exceeds its limit raises OverBudgetError.

    Attributes:
        constant_bytes: Bytes of the values that depend on no input.
        constant_work: Multiply-adds that compute these values.
        bytes: Largest number of bytes of the other values that are in memory at the same time.
        work: Multiply-adds that compute the other values.
    """

    def __init__(self, budget: Budget, images: int) -> None:
        self._limits, self._images = budget, images
        self.constant_bytes = self.constant_work = self.bytes = self.work = 0

    def compute_constant(self, size: int, work: int, kind: str) -> None:
        """Add the bytes and the multiply-adds of an operation of a kind, whose inputs are all constant."""
        self.constant_bytes += size
        self.constant_work += work
        when = "when it is opened"
        if self.constant_bytes > self._limits.constant_bytes:
            self._stop("bytes of constants", when, kind, self.constant_bytes, self._limits.constant_bytes)
        if self.constant_work > self._limits.constant_work:
            self._stop("multiply-adds", when, kind, self.constant_work, self._limits.constant_work)

    def compute(self, work: int, kind: str) -> None:
        """Add the multiply-adds of an operation of a kind."""
        self.work += work
        limit = self._limits.work * self._images
        if self.work > limit:
            self._stop("multiply-adds", self._for_images(), kind, self.work, limit)

    def hold(self, size: int, kind: str) -> None:
        """Note the bytes of the values that are in memory while an operation of a kind runs."""
        self.bytes = max(self.bytes, size)
        limit = self._limits.bytes * self._images
        if size > limit:
            self._stop("bytes of memory", self._for_images(), kind, size, limit)

    def _for_images(self) -> str:
        return "for one image" if self._images == 1 else f"for {self._images} images"

    def _stop(self, what: str, when: str, kind: str, needed: int, limit: int) -> None:
        check_limit(f"{what} {when}, up to an operation {shortened(kind)}", needed, limit)


def check_limit(what: str, needed: int, limit: int) -> None:
    """Raise OverBudgetError if a number exceeds its limit.

    Args:
        what: What is counted, such as "operations in the file".
        needed: Number that the file needs.
        limit: Largest number that is allowed.
    """
    if needed > limit:
        raise OverBudgetError(what, min(needed, _LARGEST_NAMED), limit)
