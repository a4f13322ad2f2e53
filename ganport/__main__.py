"""The command line, from its first word to its exit code: `ganport`, `python -m ganport`, `python cli.py` in a clone.

`sample` is the command that reaches other people's devices. It comes with the runtime, and starts in half the time and memory
without typer and rich; all other commands are in commands/.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ganport.runtime.command import guarded, sample

if TYPE_CHECKING:
    from ganport.runtime import Sampler
    from ganport.runtime.shards import Plan


def main() -> None:
    """Run the command line, and exit."""
    sys.exit(guarded(lambda: _run(sys.argv[1:] or ["--help"])))


def _run(arguments: list[str]) -> int:
    command, *rest = arguments
    if command == "sample":
        return sample(rest, _default_model, "ganport sample", {"ray": _write_shards_on_ray})
    from ganport.commands import run

    return run(arguments)


def _write_shards_on_ray(sampler: Sampler, plan: Plan, address: str | None) -> Iterator[int]:
    from ganport.cluster import write_shards_on_ray

    return write_shards_on_ray(sampler, plan, address)


def _default_model() -> tuple[Path, str]:
    from ganport.trainer.runs import default_model

    return default_model()


if __name__ == "__main__":
    main()
