"""What the commands share: where they print, the options that several have, the model that is meant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from ganport.runtime.errors import MissingPackageError, printable

ModelArgument = Annotated[
    Path | None,
    typer.Argument(help="The .onnx file, or a name in the box: see `ganport models`.", show_default="the newest export"),
]
ProviderOption = Annotated[
    str, typer.Option("--provider", help="cpu, cuda, tensorrt, openvino, directml, coreml; or auto. There is no fallback.")
]
LayoutOption = Annotated[
    Literal["NHWC", "NCHW"] | None,
    typer.Option("--layout", help="Of a foreign model's images.", show_default="by their shape"),
]
RangeOption = Annotated[
    Literal["tanh", "sigmoid"] | None,
    typer.Option("--range", help="Of a foreign model's images: -1..1 or 0..1.", show_default="by its last activation"),
]


class _Lines(Console):
    """A console that shows what files say as text, whatever it is."""

    def print(self, *objects: Any, **settings: Any) -> None:
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **settings)


results = _Lines(highlight=False, soft_wrap=True)  # stdout
messages = _Lines(highlight=False, soft_wrap=True, stderr=True)


def print_whole(table: Table) -> None:
    """Print a table of which nothing is cut or folded, however narrow the terminal: half a number is another number."""
    table.width = results.measure(table, options=results.options.update(max_width=_ANY_WIDTH)).maximum
    results.print(table)


_ANY_WIDTH = 10_000


def find_model(model: Path | None) -> Path:
    """Return the file of a model: a path, a name in the box, or the newest export.

    Raises:
        ModelNotFoundError: there is none.
    """
    from ganport.runtime.command import find_model
    from ganport.trainer.runs import default_model

    return find_model(model, default_model)


@contextlib.contextmanager
def needs(purpose: str, extra: str) -> Iterator[None]:
    """Turn a failed import into an error with the install line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", purpose, extra) from error


def load_tensorflow(purpose: str, extra: str) -> None:
    """Import TensorFlow, which takes seconds, and say so.

    Raises:
        MissingPackageError: it isn't here; the extra of this name brings it.
    """
    from ganport.trainer import devices

    with messages.status("loading TensorFlow"), needs(purpose, extra):
        devices.load_tensorflow()
