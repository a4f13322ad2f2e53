"""The command line, from its first word to its exit code: a mistake of the user ends in one red line and in 1, or 2 for usage.

`sample` is the command that reaches other people's devices. It comes with the runtime, and starts in half the time and memory
without typer and rich; all other commands are in commands.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runtime.command import sample
from runtime.errors import GanportError, UsageError, system_reason


def main() -> None:
    """Run the command line, and exit."""
    try:
        status = _run(sys.argv[1:] or ["--help"])
    except UsageError as error:
        status = _fail(str(error), 2)
    except GanportError as error:
        status = _fail(str(error), 1)
    except OSError as error:
        # What the library has no error of its own for: a place that may not be looked into, say.
        status = _fail(f"{error.filename or 'the system'}: {system_reason(error)}", 1)
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    command, *rest = arguments
    if command == "sample":
        sample(rest, _default_model)
        return 0
    from commands import run

    return run(arguments)


def _default_model() -> tuple[Path, str]:
    from trainer.runs import default_model

    return default_model()


def _fail(message: str, status: int) -> int:
    line = " ".join(f"error: {message}".split())
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[31m{line}\x1b[0m" if is_coloured else line, file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
