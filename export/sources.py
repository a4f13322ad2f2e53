"""Sources: loading a generator from whatever the user has, and bringing it into standard form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import Latents
from ganport.runtime.contract import Distribution
from ganport.runtime.description import Description
from ganport.trainer.run_folder import RunFolder

from .described import DescribedGenerator
from .errors import GeneratorError
from .paths import LoadingOptions, is_onnx, with_name

if TYPE_CHECKING:
    import keras
    import onnx

    from .paths import Found


@dataclasses.dataclass(frozen=True)
class Source:
    """A generator, and what is known about it.

    Attributes:
        name: Title of the model; without a title, the name of the recipe, of the file without its ending, or
            of the Keras model in memory.
        generator: A generator of any framework with its description. Or a Keras model in standard form: from
            latents (batch, latent_dim) to images (batch, height, width, channels) in [-1, 1]; if there are
            labels, its input is (batch, latent_dim + number of labels), with a one-hot code of the label
            last.
        recipe: Recipe for the contract; empty for a model that ganport did not train.
        data: Description of the training data for the contract; empty for a model that ganport did not train.
        training: Training steps and metrics for the contract; empty for a model that ganport did not train.
        labels: Names of the labels that can be requested; empty for a generator without labels.
        distribution: Distribution of the latents that the generator was trained with.
    """

    name: str
    generator: keras.Model | DescribedGenerator
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] = ()
    distribution: Distribution = "normal"

    @property
    def latent_dim(self) -> int:
        """Number of latents per image."""
        if isinstance(self.generator, DescribedGenerator):
            return self.generator.contract.input.dim
        return int(self.generator.input_shape[1]) - len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        if isinstance(self.generator, DescribedGenerator):
            return self.generator.contract.image.shape
        height, width, channels = self.generator.output_shape[1:]
        return height, width, channels

    @property
    def original(self) -> str:
        """What the exported graph is compared with, as a text for messages."""
        return self.generator.original if isinstance(self.generator, DescribedGenerator) else "Keras"

    @property
    def fixed_batch(self) -> int | None:
        """Number of images per run if the generator works with this number only; otherwise None."""
        return self.generator.fixed_batch if isinstance(self.generator, DescribedGenerator) else None

    @property
    def is_half(self) -> bool:
        """Whether the original computes in float16."""
        return isinstance(self.generator, DescribedGenerator) and self.generator.is_half

    @property
    def is_third_party(self) -> bool:
        """Whether the generator was loaded from elsewhere than a run of ganport."""
        return isinstance(self.generator, DescribedGenerator)

    @property
    def has_levels(self) -> bool:
        """Whether the original's images are whole levels, as those of type uint8 are."""
        return isinstance(self.generator, DescribedGenerator) and self.generator.has_levels

    def convert(self, opset: int, batch: int | None) -> onnx.ModelProto:
        """Return the generator as a graph in standard form.

        Args:
            opset: Version of the ONNX standard operators.
            batch: Number of images per run; None for any number.

        Raises:
            GeneratorError: The generator works with another number of images only.
        """
        if isinstance(self.generator, DescribedGenerator):
            return self.generator.convert(opset, batch)
        from .conversion import convert_generator

        return convert_generator(self.generator, opset, batch)

    def generate(self, inputs: Latents) -> npt.NDArray[np.float32]:
        """Return the images of the original generator, float32 (n, height, width, channels) in [-1, 1].

        Args:
            inputs: float32 (n, latent_dim + number of labels): latents, then the one-hot code of the label.
        """
        if isinstance(self.generator, DescribedGenerator):
            return self.generator.generate(inputs)
        from .conversion import generate_with_keras

        return generate_with_keras(self.generator, inputs)


def load_source(
    found: Found,
    *,
    step: int | None = None,
    description: Description | None = None,
    loading: LoadingOptions | None = None,
    opset: int = 18,
) -> Source:
    """Return the generator of a run, of a file, of a TensorFlow SavedModel, or of a Keras model in memory.

    Args:
        found: Run folder, path of a file or of a SavedModel folder, or Keras model.
        step: Step of the checkpoint of a run; by default that of `RunFolder.step_to_export`.
        description: What the user says about a third-party generator.
        loading: How a third-party file is loaded.
        opset: Version of the ONNX standard operators that the generator will be exported to.

    Raises:
        RunNotFoundError: The folder is not a run.
        CheckpointError: The run has no checkpoint that can be used.
        GeneratorError: The file contains no generator, or a fact about the generator is not known.
    """
    if isinstance(found, RunFolder):
        source = _load_run(found, step)
        _check_generator(found.path, source.generator)
        return source
    chosen, how = description or Description(), loading or LoadingOptions()
    if isinstance(found, Path) and is_onnx(found):
        from .onnx_sources import load_onnx

        loaded = load_onnx(found, chosen)
        return _with_facts(found, _described(with_name(found).stem, loaded, chosen, opset))
    from .tensorflow_sources import load_file, load_model

    if isinstance(found, Path):
        return _described(with_name(found).stem, load_file(found, chosen, how, opset), chosen, opset)
    return _described(found.name, load_model(found, chosen, how, opset), chosen, opset)


def _described(name: str, generator: DescribedGenerator, description: Description, opset: int) -> Source:
    generator.find_fixed_batch(opset)
    given = generator.contract.input
    return Source(name, generator, labels=given.labels or (), distribution=given.distribution)


def _with_facts(path: Path, source: Source) -> Source:
    """Return the source with the facts in the contract of its file, if ganport wrote the file."""
    import onnx

    from .own_exports import contract_of

    contract = contract_of(onnx.load(path, load_external_data=False))
    if contract is None:
        return source
    return dataclasses.replace(
        source, name=contract.name, recipe=contract.recipe, data=contract.data, training=contract.training
    )


def _load_run(run: RunFolder, chosen: int | None) -> Source:
    from ganport.trainer.checkpoints import load_generator
    from ganport.trainer.run_identity import describe_provenance
    from ganport.trainer.start_weights import describe_origin, read_start

    recipe, data, start = run.read_recipe(), run.read_data(), read_start(run)
    step = run.step_to_export() if chosen is None else chosen
    origin = {} if start is None else {"start": describe_origin(start)}
    generator = load_generator(run, step)
    return Source(
        name=recipe.title or recipe.name,
        generator=generator,
        recipe=recipe.to_dict(),
        # The path of the training images is left out, since paths of the training machine are private.
        data={key: data[key] for key in ("name", "images", "licence", "fingerprint")},
        training={
            "steps": step,
            "images_seen": step * recipe.batch_size,
            "metrics": run.measured_at(step),
            **describe_provenance(run, step),
            **origin,
        },
        labels=recipe.labels,
    )


def _check_generator(shown: object, model: keras.Model) -> None:
    """Raise GeneratorError if the model is not a generator that can be exported."""
    if not model.built or not getattr(model, "inputs", None):
        raise GeneratorError(
            shown, "the model was never built, so it has no inputs; call the model once, then save it."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise GeneratorError(
            shown,
            f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs; the generator of a run has "
            "one of each.",
        )
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
