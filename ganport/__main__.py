"""The command line: `ganport`, `python -m ganport`, and `python cli.py` in a clone.

The command `sample` is meant for devices that only generate images. It is a part of the runtime and needs
neither typer nor rich. Without these packages it starts in half the time and memory. All other commands are
in commands/.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ganport.runtime.command import guarded, sample, sample_options

if TYPE_CHECKING:
    from ganport.runtime import Sampler
    from ganport.runtime.shards import Plan


def main() -> None:
    """Run the command line, and exit."""
    arguments = sys.argv[1:] or ["--help"]
    sys.exit(guarded(lambda: _run(arguments), lambda: _options_of(arguments[0])))


def _run(arguments: list[str]) -> int:
    command, *rest = arguments
    if command == "sample":
        return sample(rest, _default_model, "ganport sample", {"ray": _write_shards_on_ray})
    from ganport.commands import run

    return run(arguments)


def _options_of(command: str) -> dict[str, str]:
    if command == "sample":
        return sample_options()
    from ganport.commands import options_of

    return options_of(command)


def _write_shards_on_ray(sampler: Sampler, plan: Plan, address: str | None) -> Iterator[int]:
    from ganport.cluster import write_shards_on_ray

    return write_shards_on_ray(sampler, plan, address=address)


def _default_model() -> tuple[Path, str]:
    from ganport.trainer.runs import default_model

    return default_model()


if __name__ == "__main__":
    main()
