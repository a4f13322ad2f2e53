"""What can be exported: a run folder or a .keras file -> a Keras generator, and what is known about it."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from runtime.errors import GeneratorError, RunNotFoundError, first_line
from trainer.checkpoints import load_generator
from trainer.runs import Run


@dataclasses.dataclass(frozen=True)
class Source:
    """A generator with its facts.

    Attributes:
        name: for people; of the recipe, or of the file.
        generator: latents (batch, latent_dim) -> images (batch, height, width, channels) in [-1, 1].
        recipe, data, training: the parts of the contract that only the trainer knows; empty where nobody does.
    """

    name: str
    generator: keras.Model
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def latent_dim(self) -> int:
        """Latents per image."""
        return int(self.generator.input_shape[1])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.generator.output_shape[1:]
        return height, width, channels


def load_source(path: Path, best: bool = False) -> Source:
    """Return the generator of a run folder, of its last checkpoint or its best, or of a .keras file.

    Raises:
        RunNotFoundError: nothing there, or a folder without a run.
        CheckpointError: a run without a checkpoint that can be used.
        GeneratorError: a file that is no Keras model, or a model that is no generator.
    """
    if path.is_dir():
        source = _load_run(Run(path), best)
    elif path.suffix == ".keras" and path.is_file():
        source = Source(name=path.stem, generator=_load_keras(path))
    elif path.is_file():
        raise GeneratorError(path, "it is neither a run folder nor a .keras file.")
    else:
        raise RunNotFoundError(path)
    _check_generator(path, source.generator)
    return source


def _load_run(run: Run, best: bool) -> Source:
    recipe, data = run.read_recipe(), run.read_data()
    step = run.best_step() if best else run.newest_step()
    return Source(
        name=recipe.name,
        generator=load_generator(run, best),
        recipe=recipe.to_dict(),
        # Where the images lay on the trainer's machine is nobody's business.
        data={key: data[key] for key in ("name", "images", "licence")},
        training={"steps": step, "images_seen": step * recipe.batch_size, "metrics": {}},
    )


def _load_keras(path: Path) -> keras.Model:
    try:
        # Keras' safe mode stays on: a model file may not bring code of its own.
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise GeneratorError(path, f"Keras can't load it ({first_line(error)})") from error


def _check_generator(path: Path, model: keras.Model) -> None:
    if not model.built or not getattr(model, "inputs", None):
        raise GeneratorError(path, "the model was never built, so that it has no inputs; call it once before it is saved.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        found = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise GeneratorError(path, f"a generator has one input and one output; this model has {found}.")
    latent, image = model.input_shape, model.output_shape
    if len(latent) != 2 or latent[1] is None:
        raise GeneratorError(path, f"a generator takes latents (batch, dim); this model takes {latent}.")
    if len(image) != 4 or None in image[1:] or image[3] not in (1, 3, 4):
        due = "(batch, height, width, 1, 3 or 4)"
        raise GeneratorError(path, f"a generator draws images {due} of a fixed size; this model gives {image}.")
    for tensor in (*model.inputs, *model.outputs):
        if tensor.dtype != "float32":
            raise GeneratorError(path, f"a generator works in float32; this model has {tensor.dtype}.")
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight.value)).all():
            raise GeneratorError(path, f"the weight {weight.path} holds numbers that are not finite.")
