"""What can be exported: a run folder, a .keras or .h5 file, a SavedModel -> a Keras generator, and what is known about it."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from ganport.runtime.errors import GeneratorError, RunNotFoundError, UsageError, first_line
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.runs import Run


@dataclasses.dataclass(frozen=True)
class Source:
    """A generator with its facts.

    Attributes:
        name: for people; of the recipe, or of the file.
        generator: latents (batch, latent_dim), and one number per class behind them if there are labels -> images (batch,
            height, width, channels) in [-1, 1].
        labels: names of the classes that can be asked for.
        recipe, data, training: the parts of the contract that only the trainer knows; empty where nobody does.
    """

    name: str
    generator: keras.Model
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @property
    def latent_dim(self) -> int:
        """Latents per image."""
        return int(self.generator.input_shape[1]) - len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.generator.output_shape[1:]
        return height, width, channels


Range = Literal["tanh", "sigmoid"]


def load_source(path: Path, best: bool = False, value_range: Range | None = None, trust: bool = False) -> Source:
    """Return the generator of a run folder, of a .keras or legacy .h5 file, or of a TensorFlow SavedModel.

    Args:
        path: of the file or folder.
        best: of a run: the checkpoint with the smallest distance, not the last one.
        value_range: of a foreign model's images: "tanh" for [-1, 1], "sigmoid" for [0, 1]; None where its last activation
            says so.
        trust: run the code that a Keras file brings along, as Python would run a script.

    Raises:
        RunNotFoundError: no such folder, or one without a run.
        CheckpointError: a run without a checkpoint that can be used.
        GeneratorError: no such file, or no Keras model in it; a model that is no generator, or whose range is not known.
    """
    if path.is_dir() and not (path / "saved_model.pb").exists():
        if value_range is not None:
            raise UsageError(f"{path} is a run, whose images are in [-1, 1]; leave out --range.")
        source = _load_run(Run(path), best)
        _check_generator(path, source.generator)
        return source
    if best:
        raise UsageError(f"{path} is no run; leave out --best.")
    model = _load_foreign(path, trust)
    _check_generator(path, model)
    return Source(name=path.stem, generator=standardised(path, model, value_range))


def _load_foreign(path: Path, trust: bool) -> keras.Model:
    if path.is_dir():
        return _load_saved_model(path)
    if path.suffix in (".keras", ".h5", ".hdf5") and path.is_file():
        return _load_keras(path, trust)
    if path.is_file():
        raise GeneratorError(path, "it is neither a run folder nor a .keras or .h5 file, nor a SavedModel.")
    if path.suffix:
        beside = f"; {path.parent} is a run, which can be exported itself" if Run(path.parent).exists() else ""
        raise GeneratorError(path, f"there is no such file or folder{beside}.")
    raise RunNotFoundError(path)


def _load_run(run: Run, best: bool) -> Source:
    recipe, data = run.read_recipe(), run.read_data()
    step = run.best_step() if best else run.newest_step()
    return Source(
        name=recipe.name,
        generator=load_generator(run, step),
        recipe=recipe.to_dict(),
        # Where the images lay on the trainer's machine is nobody's business.
        data={key: data[key] for key in ("name", "images", "licence")},
        training={"steps": step, "images_seen": step * recipe.batch_size, "metrics": run.measured_at(step)},
        labels=recipe.labels,
    )


def _load_keras(path: Path, trust: bool) -> keras.Model:
    try:
        # In Keras' safe mode a model file may not bring code of its own.
        return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        if "lambda" in str(error).lower() and not trust:
            problem = (
                "a Lambda layer in it is code of whoever made the file; if you trust them with your machine, give --trust."
            )
            raise GeneratorError(path, problem) from error
        if (layer := _missing_class(error)) is not None:
            problem = f"the class {layer} in it is none of Keras' own; where that is defined, call model.export(folder), "
            raise GeneratorError(path, problem + "and export the SavedModel that this writes.") from error
        raise GeneratorError(path, f"Keras can't load it ({first_line(error)})") from error


def _missing_class(error: BaseException | None) -> str | None:
    """Return the name of a class that Keras looked for in vain; it says so in the error before the last."""
    while error is not None:
        found = re.search(r"Could not locate (?:class|function) '([^']+)'", str(error))
        if found:
            return found[1]
        error = error.__context__
    return None


def _load_saved_model(path: Path) -> keras.Model:
    """Return a Keras model around the function that a SavedModel serves; only one with one input and one output will do."""
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
    except (ValueError, TypeError, KeyError, OSError, tf.errors.OpError) as error:
        if isinstance(error, GeneratorError):
            raise
        raise GeneratorError(path, f"TensorFlow can't load it ({first_line(error)})") from error


def standardised(path: Path, model: keras.Model, value_range: Range | None) -> keras.Model:
    """Return a model from latents (batch, dim) to images in [-1, 1], whatever axes and range the foreign one has."""
    activation = _last_activation(model)
    if value_range is None and activation not in ("tanh", "sigmoid"):
        problem = f"its last activation is {activation or 'not known'}; say with --range tanh that its images are in [-1, 1], "
        raise GeneratorError(path, problem + "or with --range sigmoid that they are in [0, 1].")
    if value_range is not None and activation in ("tanh", "sigmoid") and activation != value_range:
        raise GeneratorError(path, f"its last activation is {activation}, which --range {value_range} contradicts.")
    layers = [model]
    if len(model.input_shape) == 4:
        layers.insert(0, keras.layers.Reshape(model.input_shape[1:]))
    if (value_range or activation) == "sigmoid":
        layers.append(keras.layers.Rescaling(2.0, -1.0))
    return model if len(layers) == 1 else keras.Sequential([keras.Input((model.input_shape[-1],)), *layers])


def _last_activation(model: keras.Model) -> str | None:
    """Return the name of the last activation, behind which pixels are only moved; None where there is none to be seen."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            return _last_activation(layer)
        if isinstance(layer, (keras.layers.Reshape, keras.layers.Permute, keras.layers.Cropping2D, keras.layers.Flatten)):
            continue
        activation = getattr(layer, "activation", None)
        return getattr(activation, "__name__", None)
    return None


def _check_generator(path: Path, model: keras.Model) -> None:
    if not model.built or not getattr(model, "inputs", None):
        raise GeneratorError(path, "the model was never built, so that it has no inputs; call it once before it is saved.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise GeneratorError(path, _not_one_and_one(len(model.inputs), len(model.outputs)))
    latent, image = model.input_shape, model.output_shape
    if latent[-1] is None or (len(latent) != 2 and (len(latent) != 4 or latent[1:3] != (1, 1))):
        raise GeneratorError(path, f"a generator takes latents (batch, dim) or (batch, 1, 1, dim); this model takes {latent}.")
    if len(image) != 4 or None in image[1:] or image[3] not in (1, 3, 4):
        due = "(batch, height, width, 1, 3 or 4)"
        raise GeneratorError(path, f"a generator draws images {due} of a fixed size; this model gives {image}.")
    for tensor in (*model.inputs, *model.outputs):
        if tensor.dtype != "float32":
            raise GeneratorError(path, f"a generator works in float32; this model has {tensor.dtype}.")
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight.value)).all():
            raise GeneratorError(path, f"the weight {weight.path} holds numbers that are not finite.")


def _not_one_and_one(inputs: int, outputs: int) -> str:
    return f"a generator has one input and one output; this model has {inputs} inputs and {outputs} outputs."
