"""The reasons for which a model file is not opened, as errors without the name of the file."""

from __future__ import annotations


class RejectedError(Exception):
    """The file is harmful or damaged; the text of the error is the problem."""


class UnsupportedError(Exception):
    """The file is sound, and it can't be used as it is.

    Attributes:
        problem: Clause that says what the file is or has.
        remedy: Clause that says what to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}; {remedy}")


class OverBudgetError(Exception):
    """The file needs more memory or work than its budget allows.

    Attributes:
        what: What exceeds its limit, such as "operations".
        needed: Number that the file needs, as far as it was counted.
        limit: Largest number that is allowed.
    """

    def __init__(self, what: str, needed: int, limit: int) -> None:
        self.what, self.needed, self.limit = what, needed, limit
        super().__init__(f"{what}: {needed:,} of {limit:,}")
