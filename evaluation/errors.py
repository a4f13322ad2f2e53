"""Errors of the evaluation."""

from __future__ import annotations

from ganport.runtime.errors import GanportError


class EvaluationError(GanportError, ValueError):
    """The images can't be measured as requested."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"Can't evaluate: {problem}.")


class TooFewImagesError(EvaluationError):
    """There are fewer images than the metrics need."""

    def __init__(self, got: int, expected: int, what: str) -> None:
        self.got, self.expected = got, expected
        super().__init__(f"{got:,} {what} are too few; the metrics need at least {expected:,}")


class ImageShapeError(EvaluationError):
    """The images have a shape that can't be measured, or generated and real images differ in shape."""

    def __init__(self, got: tuple[int, ...], problem: str) -> None:
        self.got = got
        super().__init__(problem)
