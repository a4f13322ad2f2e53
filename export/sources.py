"""Loading a generator: from a run, a .keras or .h5 file, a SavedModel, or a Keras model in memory."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ganport.runtime.display import first_line
from ganport.runtime.third_party import ValueRange
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.run_folder import RunFolder

from .errors import GeneratorError
from .paths import with_name

if TYPE_CHECKING:
    from .paths import Found


@dataclasses.dataclass(frozen=True)
class Source:
    """A generator, and what is known about it.

    Attributes:
        name: Name of the recipe, of the file without its ending, or of the Keras model in memory.
        generator: Keras model from latents (batch, latent_dim) to images (batch, height, width, channels) in
            [-1, 1]. If there are labels, its input is (batch, latent_dim + number of labels), with a one-hot
            code of the label last.
        recipe: Recipe for the contract; empty for a model that ganport did not train.
        data: Description of the training data for the contract; empty for a model that ganport did not train.
        training: Training steps and metrics for the contract; empty for a model that ganport did not train.
        labels: Names of the labels that can be requested; empty for a generator without labels.
    """

    name: str
    generator: keras.Model
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @property
    def latent_dim(self) -> int:
        """Number of latents per image."""
        return int(self.generator.input_shape[1]) - len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.generator.output_shape[1:]
        return height, width, channels


def load_source(
    found: Found, *, best: bool = False, value_range: ValueRange | None = None, trust: bool = False
) -> Source:
    """Return the generator of a run, a .keras or legacy .h5 file, a TensorFlow SavedModel, or a Keras model.

    Args:
        found: Run folder, path of a file or of a SavedModel folder, or Keras model.
        best: Whether to load the best checkpoint of a run (see `RunFolder.best_step`), not the newest.
        value_range: Range of a third-party model's images, "tanh" for [-1, 1] or "sigmoid" for [0, 1]; None
            if the last activation of the model determines the range.
        trust: Whether to run the code in a Keras file. This code can do whatever a Python script can do.

    Raises:
        RunNotFoundError: The folder is not a run.
        CheckpointError: The run has no checkpoint that can be used.
        GeneratorError: The file contains no Keras model, the model is not a generator, or the range of
            its images is not known.
    """
    if isinstance(found, RunFolder):
        source = _load_run(found, best)
        _check_generator(found.path, source.generator)
        return source
    if isinstance(found, Path):
        model = _load_path(found, trust)
        _check_generator(found, model)
        return Source(name=with_name(found).stem, generator=standardise(found, model, value_range))
    shown = f"the Keras model {found.name!r}"
    _check_generator(shown, found)
    return Source(name=found.name, generator=standardise(shown, found, value_range))


def _load_run(run: RunFolder, best: bool) -> Source:
    recipe, data = run.read_recipe(), run.read_data()
    step = run.best_step() if best else run.newest_step()
    return Source(
        name=recipe.name,
        generator=load_generator(run, step),
        recipe=recipe.to_dict(),
        # The path of the training images is left out, since paths of the training machine are private.
        data={key: data[key] for key in ("name", "images", "licence")},
        training={"steps": step, "images_seen": step * recipe.batch_size, "metrics": run.measured_at(step)},
        labels=recipe.labels,
    )


def _load_path(path: Path, trust: bool) -> keras.Model:
    if path.is_dir():
        return _load_saved_model(path)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return _load_keras_file(path, trust)
    raise GeneratorError(
        path, "the file is of another type; give a run folder, a .keras or .h5 file, or a SavedModel."
    )


def _load_keras_file(path: Path, trust: bool) -> keras.Model:
    try:
        # In safe mode, Keras does not load a file that contains code.
        return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise GeneratorError(path, _loading_problem(error, trust)) from error


def _loading_problem(error: Exception, trust: bool) -> str:
    if "lambda" in str(error).lower() and not trust:
        return (
            "the file holds a Lambda layer, which is code by the author of the file; to run this code on "
            "your machine, use `trust=True`."
        )
    missing = _missing_class(error)
    if missing is not None:
        return (
            f"the model uses the class {missing}, which is not part of Keras; in the program that defines "
            "this class, call model.export(folder), then export the SavedModel in that folder."
        )
    return f"Keras can't load the file ({first_line(error)})."


def _missing_class(error: BaseException | None) -> str | None:
    """Return the name of the class or function that Keras did not find; None if no error contains a name.

    Args:
        error: Error of Keras. The name may be in this error or in an earlier one that led to it.
    """
    while error is not None:
        found = re.search(r"Could not locate (?:class|function) '([^']+)'", str(error))
        if found:
            return found[1]
        error = error.__context__
    return None


def _load_saved_model(path: Path) -> keras.Model:
    """Return a Keras model that calls the default signature of a SavedModel.

    The signature must have one input and one output.
    """
    try:
        signature = tf.saved_model.load(path).signatures.get("serving_default")
        if signature is None:
            raise GeneratorError(path, "the SavedModel has no signature 'serving_default'.")
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise GeneratorError(path, _not_one_and_one(len(inputs), len(outputs)))
        (latent,), ((name, _),) = inputs.values(), outputs.items()
        source = keras.Input(latent.shape[1:], name="latent")
        served = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
        return keras.Model(source, served(source)[name])
    except GeneratorError:
        raise
    except (ValueError, TypeError, KeyError, OSError, tf.errors.OpError) as error:
        raise GeneratorError(path, f"TensorFlow can't load the SavedModel ({first_line(error)}).") from error


def standardise(shown: object, model: keras.Model, value_range: ValueRange | None) -> keras.Model:
    """Return a model from latents (batch, dim) to images in [-1, 1].

    Args:
        shown: Path or name of the model, for error messages.
        model: Model from latents (batch, dim) or (batch, 1, 1, dim) to images (batch, height, width,
            channels).
        value_range: Range of the model's images; None if its last activation determines the range.

    Raises:
        GeneratorError: The range is not known, or the last activation contradicts `value_range`.
    """
    activation = _last_activation(model)
    known = activation if activation in ("tanh", "sigmoid") else None
    if known is None and value_range is None:
        ending = f"its last activation is {activation}" if activation else "its last activation is not known"
        raise GeneratorError(
            shown,
            f"{ending}, so the range of its images is not clear; use `value_range='tanh'` for [-1, 1] or "
            "`value_range='sigmoid'` for [0, 1].",
        )
    if known is not None and value_range is not None and known != value_range:
        raise GeneratorError(
            shown,
            f"its last activation is {known}, which contradicts `value_range={value_range!r}`; leave "
            "`value_range` out.",
        )
    layers = [model]
    if len(model.input_shape) == 4:
        layers.insert(0, keras.layers.Reshape(model.input_shape[1:]))
    if (value_range or known) == "sigmoid":
        layers.append(keras.layers.Rescaling(2.0, -1.0))
    if len(layers) == 1:
        return model
    return keras.Sequential([keras.Input((model.input_shape[-1],)), *layers])


def _last_activation(model: keras.Model) -> str | None:
    """Return the name of the model's last activation; None if it is not known.

    Layers that only move or crop pixels may follow the activation.
    """
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            return _last_activation(layer)
        if isinstance(
            layer, (keras.layers.Reshape, keras.layers.Permute, keras.layers.Cropping2D, keras.layers.Flatten)
        ):
            continue
        activation = getattr(layer, "activation", None)
        return getattr(activation, "__name__", None)
    return None


def _check_generator(shown: object, model: keras.Model) -> None:
    """Raise GeneratorError if the model is not a generator that can be exported."""
    if not model.built or not getattr(model, "inputs", None):
        raise GeneratorError(
            shown, "the model was never built, so it has no inputs; call the model once, then save it."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise GeneratorError(shown, _not_one_and_one(len(model.inputs), len(model.outputs)))
    latent, image = model.input_shape, model.output_shape
    takes_latents = len(latent) == 2 or (len(latent) == 4 and latent[1:3] == (1, 1))
    if latent[-1] is None or not takes_latents:
        raise GeneratorError(
            shown,
            f"its input has shape {latent}; a generator takes latents (batch, dim) or (batch, 1, 1, dim).",
        )
    if len(image) != 4 or None in image[1:] or image[3] not in (1, 3, 4):
        raise GeneratorError(
            shown,
            f"its output has shape {image}; a generator returns images (batch, height, width, channels) of a "
            "fixed size with 1, 3 or 4 channels.",
        )
    for tensor in (*model.inputs, *model.outputs):
        if tensor.dtype != "float32":
            raise GeneratorError(
                shown, f"its input or output is {tensor.dtype}; both must be float32 in a generator."
            )
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight.value)).all():
            raise GeneratorError(shown, f"its weight {weight.path} holds values that are not finite.")


def _not_one_and_one(inputs: int, outputs: int) -> str:
    return f"it has {inputs} inputs and {outputs} outputs; a generator has one of each."
