"""Options that describe a third-party generator, for all commands that open one."""

from __future__ import annotations

import argparse
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from ganport.runtime.command import make_parser
from ganport.runtime.description import DescriptionOptions, parse_description
from ganport.runtime.pretrained import PRETRAINED
from ganport.runtime.providers import ProviderChoice

if TYPE_CHECKING:
    from ganport.export.exporting import SourceDescription

_NAMES = tuple(DescriptionOptions.__annotations__)


def parameter_of(action: argparse.Action) -> inspect.Parameter:
    """Return a parameter from which typer makes the same option or argument as the runtime's parser."""
    choices = get_args(ProviderChoice) if action.dest == "provider" else tuple(action.choices or ())
    kind: Any = Literal[choices] if choices else str
    default: Any = None
    if action.nargs == 0:
        kind, default = bool, False
    elif isinstance(action, argparse._AppendAction):
        kind, default = list[str], ()
    elif action.dest == "labels_at":
        kind = int
    if action.option_strings:
        info: Any = typer.Option(
            *action.option_strings, help=_sentence(action.help or ""), metavar=_metavar(action)
        )
    else:
        info = typer.Argument(help=action.help, autocompletion=lambda: list(PRETRAINED))
    annotation: Any = Annotated[kind, info] if default == () else Annotated[kind | None, info]
    return inspect.Parameter(
        action.dest, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _metavar(action: argparse.Action) -> str | None:
    return action.metavar if isinstance(action.metavar, str) else None


def describes_generator(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that describe a third-party generator.

    The command has a parameter `description`, a dict that it passes on to `Sampler`. In the command's help,
    the options take the place of this parameter. If the command has a parameter `layout` of its own, the
    option for the generator's layout is named --source-layout.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [each for name, each in signature.parameters.items() if name != "description"]
    layout = "source_layout" if "layout" in signature.parameters else "layout"

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        texts = {name: arguments.pop(layout if name == "layout" else name) for name in _NAMES}
        command(**arguments, description=parse_description(texts))

    actions = [each for each in make_parser("sample")._actions if each.dest in _NAMES]
    for action in actions:
        if action.dest == "layout" != layout:
            action.dest, action.option_strings = layout, ["--source-layout"]
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *map(parameter_of, actions))
    ]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def renamed(description: DescriptionOptions) -> SourceDescription:
    """Return a description in the arguments of `export`, whose `layout` is the layout of the written file."""
    renamed = {"source_layout" if name == "layout" else name: value for name, value in description.items()}
    return cast("SourceDescription", renamed)
