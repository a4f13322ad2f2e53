"""Settings of a recipe that a user changes by name, such as `loss=hinge`."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from ganport.runtime.errors import UsageError

from .errors import RecipeError, UnknownSettingError
from .recipe import Optimizer, Recipe

_OPTIMIZERS = ("generator_optimizer", "discriminator_optimizer")
_TRUE, _FALSE, _NONE = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("none", "")

# Fields of a recipe that are no settings. Values: what decides them, and what to do.
_DECIDED_ELSEWHERE = {
    "name": "it is that of the recipe; choose what cards and pages show with `title`",
    "dataset": "choose the images with `data`",
    "image_shape": "it is that of the images; choose their size with `image_size` and `channels`",
    "labels": "they are those of the images; choose the images with `data`",
    "build_generator": "write a recipe file, which has networks of its own",
    "build_discriminator": "write a recipe file, which has networks of its own",
    **dict.fromkeys(_OPTIMIZERS, "change one of its fields, such as `{name}.learning_rate`"),
}


def change_recipe(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return a recipe in which some settings have other values.

    Args:
        recipe: The recipe.
        settings: Dict from the name of a setting to its value. A setting is a field of Recipe, such as
            "loss", or a field of one of its optimizers, such as "generator_optimizer.learning_rate". A field
            of the optimizers alone, such as "learning_rate", sets both optimizers. A value is of the type of
            the field, or a text as on the command line, such as "1e-3", "color,translation" or "none".

    Raises:
        UnknownSettingError: There is no such setting.
        UsageError: The field is decided by something else, such as the images.
        RecipeError: A value has the wrong type or is not allowed, or two values contradict each other.
    """
    known = _settings()
    values = {name: _read(recipe, name, value, known) for name, value in settings.items()}
    changes = {name: value for name, value in values.items() if name in _types(Recipe)}
    for optimizer in _OPTIMIZERS:
        own = {
            field: values[name]
            for field in _types(Optimizer)
            for name in (field, f"{optimizer}.{field}")  # the name with the optimizer decides
            if name in values and name not in changes
        }
        changes[optimizer] = dataclasses.replace(getattr(recipe, optimizer), **own)
    return dataclasses.replace(recipe, **changes)


def parse_settings(texts: Iterable[str]) -> dict[str, str]:
    """Return the settings in texts such as "loss=hinge", as a dict for `change_recipe`.

    Raises:
        UsageError: A text has no equals sign, or a setting is given twice.

    >>> parse_settings(["loss=hinge", "r1_weight=0.5"])
    {'loss': 'hinge', 'r1_weight': '0.5'}
    """
    settings: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip()
        if not sign or not name:
            raise UsageError(f"`settings` is {text}; it must be NAME=VALUE, such as loss=hinge.")
        if name in settings:
            raise UsageError(f"`settings` has {name} twice; give it once.")
        settings[name] = value.strip()
    return settings


def describe_setting(value: object) -> str:
    """Return the value of a setting as a text that `change_recipe` reads.

    >>> [describe_setting(each) for each in (0.0005, True, ("color", "cutout"), (), "hinge")]
    ['0.0005', 'true', 'color,cutout', 'none', 'hinge']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _settings() -> dict[str, Any]:
    """Return the types of all settings by name."""
    fields, optimizer = _types(Recipe), _types(Optimizer)
    known = {name: kind for name, kind in fields.items() if name not in _DECIDED_ELSEWHERE}
    for each in _OPTIMIZERS:
        known |= {f"{each}.{field}": kind for field, kind in optimizer.items()}
    return known | {field: kind for field, kind in optimizer.items() if field not in fields}


def _types(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name."""
    annotations = inspect.get_annotations(kind, eval_str=True)
    return {field.name: annotations[field.name] for field in dataclasses.fields(kind)}


def _read(recipe: Recipe, name: str, value: object, known: Mapping[str, Any]) -> Any:
    """Return the value of a setting in the type of its field, after a check of its name and type."""
    if name in _DECIDED_ELSEWHERE:
        reason = _DECIDED_ELSEWHERE[name].format(name=name)
        raise UsageError(f"`settings` can't change `{name}`: {reason}.")
    if name not in known:
        raise UnknownSettingError(name, _closest(name, known))
    try:
        return _convert(known[name], value)
    except (ValueError, TypeError):
        raise RecipeError(
            f"Recipe {recipe.name!r}: `{name}` is {value!r}; it must be {_expected(known[name])}."
        ) from None


def _closest(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that are most similar to a name, the most similar first; all names if none is."""
    names = list(known)
    last = {each: each.rpartition(".")[2] for each in names}
    similar = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    similar += [each for each in names if name.lower() in last[each] or last[each] in name.lower()]
    return list(dict.fromkeys(similar)) or names


def _convert(kind: Any, value: object) -> Any:
    """Return a value in a type, or read the value from a text.

    Raises:
        ValueError, TypeError: The value does not have this type.
    """
    if get_origin(kind) is tuple:
        return tuple(_convert(get_args(kind)[0], each) for each in _to_list(value))
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return choices[choices.index(value)]
    if kind is bool:
        return _to_bool(value)
    if kind in (int, float):
        return _to_number(kind, value)
    if not isinstance(value, kind):
        raise TypeError
    return value


def _to_list(value: Any) -> list[Any]:
    if not isinstance(value, str):
        return list(value)
    return [] if value.lower() in _NONE else [each.strip() for each in value.split(",")]


def _to_bool(value: object) -> bool:
    if isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    if not isinstance(value, bool):
        raise TypeError
    return value


def _to_number(kind: type[int] | type[float], value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    if kind is int and isinstance(value, float):
        raise TypeError
    return kind(value)


def _expected(kind: Any) -> str:
    """Describe the values of a type, for an error message."""
    if get_origin(kind) is tuple:
        choices = get_args(get_args(kind)[0]) or ("texts",)
        return f"none, or some of {', '.join(choices)}, separated by commas"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a text")
