"""What the commands share: consoles to print to, options of several commands, and the default model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ganport.runtime.command import find_model as choose_model
from ganport.runtime.display import printable
from ganport.runtime.errors import MissingPackageError
from ganport.runtime.pretrained import PRETRAINED
from ganport.runtime.providers import ProviderChoice

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="The .onnx or .ort file, or a pretrained generator (see `ganport models`).",
        show_default="the newest export",
        autocompletion=lambda: list(PRETRAINED),
    ),
]
ProviderOption = Annotated[
    ProviderChoice, typer.Option("--provider", help="Execution provider. There is no fallback.")
]
BudgetOption = Annotated[
    float,
    typer.Option(
        "--budget", min=0, help="Factor of the limits of what a file may cost; above 1 for a trusted file."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class _PrintableConsole(Console):
    """A console that escapes control characters in each text, since the text may come from a file."""

    def print(self, *objects: Any, **settings: Any) -> None:
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **settings)


results = _PrintableConsole(highlight=False, soft_wrap=True)  # prints to stdout
messages = _PrintableConsole(highlight=False, soft_wrap=True, stderr=True)


def print_whole(table: Table) -> None:
    """Print a table at its full width. No cell is cut or folded, even if the terminal is narrower."""
    table.width = width_of(table)
    results.print(table)


def width_of(table: Table) -> int:
    """Return the number of characters that the widest line of a table has if no cell is cut or folded."""
    widest = results.options.update(max_width=_ANY_WIDTH)
    return results.measure(table, options=widest).maximum


_ANY_WIDTH = 10_000  # characters; wider than any table


def find_model(model: str | None) -> Path:
    """Return the path of a model file.

    Args:
        model: Path of the file, or the name of a pretrained generator. None stands for the newest export, or
            for a pretrained generator if nothing was exported.

    Raises:
        ModelNotFoundError: There is no such model.
    """
    return choose_model(model, newest_model)


def newest_model() -> tuple[Path, str]:
    """Return the path of the newest export, or else of a pretrained generator, and a description."""
    from ganport.trainer.runs import default_model

    return default_model()


@contextlib.contextmanager
def needs(purpose: str, extra: str) -> Iterator[None]:
    """Raise MissingPackageError if an import in the block fails. The message has the install command.

    Args:
        purpose: What needs the package, for the message.
        extra: Extra of ganport that installs the package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", purpose, extra) from error


def load_tensorflow(purpose: str, extra: str) -> None:
    """Import TensorFlow. A status line is shown meanwhile, because the import takes several seconds.

    Args:
        purpose: What needs TensorFlow, for the message.
        extra: Extra of ganport that installs TensorFlow.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """
    from ganport.trainer import devices

    with messages.status("loading TensorFlow"), needs(purpose, extra):
        devices.load_tensorflow(purpose, extra)
