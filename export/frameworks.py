"""The two versions of Keras that read files: Keras 3, and Keras 2, whose package is named tf_keras."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from ganport.runtime.errors import MissingPackageError

_NAMES = ("keras", "tensorflow.keras")  # names that programs import Keras by


def framework_for(version: str) -> Any:
    """Return the package that reads files of a version of Keras: the module keras or tf_keras.

    Args:
        version: Version of Keras, such as "2.15.0"; an empty text for files of the first years, which hold
            none.

    Raises:
        MissingPackageError: The file needs tf_keras, which is not installed.
    """
    return import_keras_2() if version.split(".")[0] in ("", "0", "1", "2") else keras


def import_keras_2() -> Any:
    """Return the module tf_keras. Its import takes a second, so only files of Keras 2 lead to it.

    Raises:
        MissingPackageError: tf_keras is not installed.
    """
    try:
        import tf_keras
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            error.name or "tf_keras", "export of a file of Keras 2", "export"
        ) from error
    return tf_keras


def framework_of(model: object) -> Any:
    """Return the module that a Keras model belongs to: keras or tf_keras."""
    keras_2 = sys.modules.get("tf_keras")
    return keras_2 if keras_2 is not None and isinstance(model, keras_2.Model) else keras


@contextlib.contextmanager
def importable_as_keras(framework: Any) -> Iterator[None]:
    """Let `import keras`, `tensorflow.keras` and `tf.keras` stand for a version of Keras in the `with` block.

    Programs for Keras 2 use these names. The layers that they define must be layers of tf_keras if tf_keras
    loads the model.

    Args:
        framework: The module keras or tf_keras.
    """
    if framework is keras:
        yield
        return
    replaced = {name: module for name, module in sys.modules.items() if _is_below(name, _NAMES)}
    added = {
        name.replace("tf_keras", below, 1): module
        for name, module in sys.modules.items()
        if _is_below(name, ("tf_keras",))
        for below in _NAMES
    }
    # The layers of Keras 2 themselves use the name `tf.compat.v2.keras`.
    own = [(module, module.keras) for module in (tf, tf.compat.v2)]
    _replace_modules(replaced, added)
    for module, _ in own:
        setattr(module, "keras", framework)  # noqa: B010  # the stubs of TensorFlow have no such attribute
    try:
        yield
    finally:
        for module, former in own:
            setattr(module, "keras", former)  # noqa: B010
        _replace_modules({name: None for name in sys.modules if _is_below(name, _NAMES)}, replaced)


def _is_below(name: str, packages: tuple[str, ...]) -> bool:
    return name.startswith(tuple(f"{package}." for package in packages)) or name in packages


def _replace_modules(removed: dict[str, Any], added: dict[str, ModuleType]) -> None:
    for name in removed:
        del sys.modules[name]
    sys.modules.update(added)
