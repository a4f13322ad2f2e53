"""The command line: `ganport`, `python -m ganport`, and `python cli.py` in a clone.

The command `sample` is meant for devices that only generate images. It is a part of the runtime and needs
neither typer nor rich. Without these packages it starts in half the time and memory. All other commands are
in commands/.
"""

from __future__ import annotations

# The module `signal` takes milliseconds to import. Ctrl-C would print a traceback during this time.
import _signal  # type: ignore[import-not-found]
import os
import sys

# As in ganport/__init__.py, this is not imported from typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ganport.runtime import Sampler
    from ganport.runtime.shards import Plan


def main() -> None:
    """Run the command line, and exit."""
    # Nothing is written yet, so Ctrl-C may end the process at once. An exception could get lost, because
    # NumPy and onnxruntime turn it into an ImportError while they are imported.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(130))

    from ganport.runtime.command import guarded, split_debug

    arguments, debug = split_debug(sys.argv[1:])
    arguments = arguments or ["--help"]
    sys.exit(guarded(lambda: _run(arguments), lambda: _options_of(arguments[0]), debug=debug))


def _run(arguments: list[str]) -> int:
    command, *rest = arguments
    if command == "sample":
        from ganport.runtime.command import sample

        return sample(rest, _default_model, "ganport sample", {"ray": _write_shards_on_ray})
    from ganport.commands import run

    return run(arguments)


def _options_of(command: str) -> dict[str, str]:
    if command == "sample":
        from ganport.runtime.command import sample_options

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
