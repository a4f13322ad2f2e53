"""Errors of the cluster."""

from __future__ import annotations

from ganport.runtime.errors import GanportError


class ClusterError(GanportError, RuntimeError):
    """The cluster can't be reached, or can't do the requested work."""

    def __init__(self, address: str | None, problem: str, remedy: str = "see: ray status") -> None:
        self.address, self.problem, self.remedy = address, problem, remedy
        which = f"The Ray cluster at {address}" if address else "The Ray cluster"
        super().__init__(f"{which} is not usable: {problem}; {remedy}.")
