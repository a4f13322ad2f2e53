"""The commands but `sample`: one function each; it parses, calls one function of the library, and prints one result."""

from __future__ import annotations

import typer

from ganport.runtime.errors import UsageError

from .drawing import sample, walk
from .exporting import export
from .inspecting import doctor, inspect, models, verify
from .measuring import bench, evaluate
from .serving import serve, web
from .training import recipes, runs, train

__all__ = ["app", "run"]

app = typer.Typer(
    help="Train a GAN in Keras, export its generator to one ONNX file, draw images from it anywhere.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (train, recipes, runs, export):
    app.command()(command)
app.command(add_help_option=False)(sample)
for command in (walk, bench, models, evaluate, inspect, verify, web, serve, doctor):
    app.command()(command)


def run(arguments: list[str]) -> int:
    """Run a command; return its exit code.

    Raises:
        UsageError: the arguments are malformed.
        GanportError: whatever the command raises.
    """
    try:
        status: int | None = app(arguments, standalone_mode=False)
    except typer.TyperException as error:
        known = {command.callback.__name__ for command in app.registered_commands if command.callback}
        about = f"{arguments[0]} " if arguments[:1] and arguments[0] in known else ""
        raise UsageError(f"{_usage_message(error)} See: ganport {about}--help") from error
    return status or 0


def _usage_message(error: typer.TyperException) -> str:
    message = getattr(error, "format_message", lambda: str(error))().strip()
    return message if message.endswith((".", "!", "?")) else f"{message}."
