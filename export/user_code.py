"""Python files of the user: own layers, and networks for files that hold only weights."""

from __future__ import annotations

import contextlib
import dataclasses
import runpy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganport.runtime.display import first_line
from ganport.runtime.errors import UsageError

from .errors import GeneratorError
from .frameworks import importable_as_keras
from .keras_config import KerasConfig, parts_of

BUILDER = "build_generator"
_MODULE = "ganport_user_code"  # name of the module as which a file is run, instead of "__main__"


@dataclasses.dataclass(frozen=True)
class CustomObjects:
    """What a Python file of the user defines.

    Attributes:
        objects: Classes and functions, by the names that a Keras file may know them by.
        names: All names in the file, which the code of Lambda layers may use.
    """

    objects: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    names: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def run_file(path: Path, framework: Any, argument: str) -> dict[str, Any]:
    """Run a Python file of the user, and return the names that it defines.

    Args:
        path: The file. It may import modules of its own folder.
        framework: The module keras or tf_keras, which `import keras` and `tf.keras` stand for in the file.
        argument: Name of the argument that gave the file, for error messages.

    Raises:
        UsageError: There is no such file, or it can't be run.
    """
    if not path.is_file():
        raise UsageError(f"`{argument}` is {path}, which is not a file; give a Python file.")
    try:
        with importable_as_keras(framework), _importable_folder(path.resolve().parent):
            return runpy.run_path(str(path), run_name=_MODULE)
    # The file is a program of the user, which may raise anything.
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"`{argument}` is {path}, which can't be run ({type(error).__name__}: {first_line(error)})."
        ) from error


@contextlib.contextmanager
def _importable_folder(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def load_custom_objects(path: Path, framework: Any, config: KerasConfig | None) -> CustomObjects:
    """Return what a Python file of the user defines.

    Args:
        path: The Python file, which is run.
        framework: The module keras or tf_keras.
        config: Configuration in the Keras file. The names in it may have a package in front, such as
            "mine>Name".

    Raises:
        UsageError: There is no such file, or it can't be run.
    """
    with _temporary_registrations(framework) as registered:
        defined = run_file(path, framework, "custom_objects")
        added = dict(registered)
    # Classes of Keras that the file imports are left out, so that they don't replace those that load the
    # model.
    own = {name: value for name, value in defined.items() if callable(value) and not _is_of(framework, value)}
    return CustomObjects(own | _with_packages(own, config) | added, defined)


def _is_of(framework: Any, value: object) -> bool:
    module = getattr(value, "__module__", None) or ""
    return module.split(".")[0] == framework.__name__


@contextlib.contextmanager
def _temporary_registrations(framework: Any) -> Iterator[dict[str, Any]]:
    """Give the registry of Keras, with the names that are registered in the `with` block only.

    Keras 2 raises an error if a file registers a name for a second time, as in a second export of a program.
    """
    registry = framework.utils.get_custom_objects()
    before = dict(registry)
    registry.clear()
    try:
        yield registry
    finally:
        registry.clear()
        registry.update(before)


def _with_packages(own: Mapping[str, Any], config: KerasConfig | None) -> dict[str, Any]:
    """Return own classes by the names with a package that the configuration has for them."""
    named = {}
    for part in parts_of(config.model if config else None):
        for name in (part.get("registered_name"), part.get("class_name")):
            _, separator, base = str(name).partition(">")
            if separator and base in own:
                named[str(name)] = own[base]
    return named


def build_network(path: Path, framework: Any) -> Any:
    """Return the model that the function `build_generator` of a Python file builds.

    The file is run without `trust=True`, since the user names it as code to run.

    Args:
        path: The Python file.
        framework: The module keras or tf_keras, which `import keras` and `tf.keras` stand for in the file.

    Raises:
        UsageError: There is no such file, it can't be run, or it has no such function.
        GeneratorError: The function fails, or it returns something else than a Keras model.
    """
    build = run_file(path, framework, "network").get(BUILDER)
    if not callable(build):
        raise UsageError(
            f"`network` is {path}, which defines no function {BUILDER}(); define it in this file."
        )
    try:
        with importable_as_keras(framework), _importable_folder(path.resolve().parent):
            return build()
    except Exception as error:  # the function is the user's, and may raise anything
        raise GeneratorError(
            path, f"its function {BUILDER}() fails ({type(error).__name__}: {first_line(error)})."
        ) from error
