"""The commands: each is a function that calls one function of the library, and prints the result.

The command `sample` does not need this package. Its code is in the package `runtime`, and
`ganport.__main__` calls that code directly.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

from ganport.runtime.errors import UsageError

from .comparing import compare, runs
from .exporting import export
from .inspecting import doctor, inspect, models, verify
from .measuring import bench, evaluate
from .sampling import sample, walk
from .serving import serve, web
from .training import recipes, train

__all__ = ["app", "options_of", "run"]

app = typer.Typer(
    help="Train a GAN in Keras, export its generator to one ONNX file, generate images from it anywhere.",
    pretty_exceptions_enable=False,
)
for command in (train, recipes, runs, compare, export):
    app.command()(command)
app.command(add_help_option=False)(sample)
for command in (walk, bench, models, evaluate, inspect, verify, web, serve, doctor):
    app.command()(command)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from ganport.runtime import __version__

        print(f"ganport {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    debug: Annotated[
        bool,
        # `ganport.__main__` takes this option out of the arguments. Here it is for the help.
        typer.Option("--debug", help="Print the traceback of an error. It may also follow the command."),
    ] = False,
) -> None:
    """Train a GAN in Keras, export its generator to one ONNX file, generate images from it anywhere."""


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code.

    Raises:
        UsageError: The arguments are malformed.
        GanportError: The command failed.
    """
    try:
        status: int | None = app(arguments, standalone_mode=False, prog_name="ganport")
    except typer.TyperException as error:
        name = f"{arguments[0]} " if arguments[0] in _commands() else ""
        raise UsageError(f"{_usage_message(error, arguments)} See: ganport {name}--help") from error
    return status or 0


def options_of(command: str) -> dict[str, str]:
    """Return a dict from the library's argument names to the command's options, such as {"out": "--out"}.

    With this dict, error messages name the options. A positional argument of the command is in upper case,
    such as {"model": "MODEL"}. The dict is empty if no command has the given name.
    """
    found = _commands().get(command)
    if found is None:
        return {}
    options = {}
    for parameter in found.params:
        longest = max(parameter.opts, key=len)
        options[parameter.name] = longest if longest.startswith("-") else longest.upper()
    return ({"labels": options["label"]} if "label" in options else {}) | options


def _commands() -> dict[str, TyperCommand]:
    commands: dict[str, TyperCommand] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return commands


def _usage_message(error: typer.TyperException, arguments: list[str]) -> str:
    parameter = getattr(error, "param", None)
    if isinstance(error, typer.BadParameter) and parameter is not None and parameter.opts:
        option = max(parameter.opts, key=len)
        given, expected = _given(parameter.opts, arguments), _expected(parameter)
        if given is not None and expected:
            return f"{option} is {given}; it must be {expected}."
    message = getattr(error, "format_message", lambda: str(error))().strip()
    return message if message.endswith((".", "!", "?")) else f"{message}."


def _given(options: list[str], arguments: list[str]) -> str | None:
    """Return the value of an option in the arguments; None if the option is not in the arguments."""
    for index, argument in enumerate(arguments):
        name, has_value, value = argument.partition("=")
        if name in options:
            return value if has_value else next(iter(arguments[index + 1 :]), None)
    return None


def _expected(parameter: Any) -> str:
    """Describe the values that a parameter accepts, if it is a number or a choice; else return ""."""
    kind = parameter.type_descriptor
    choices = get_args(kind.annotation) if get_origin(kind.annotation) is Literal else ()
    if choices:
        return f"one of {', '.join(choices)}"
    if kind.annotation not in (int, float):
        return ""
    what = "a whole number" if kind.annotation is int else "a number"
    if parameter.min is None:
        return what
    if parameter.max is None:
        return f"{what} of at least {parameter.min:g}"
    return f"{what} from {parameter.min:,} to {parameter.max:,}"
