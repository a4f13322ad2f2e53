"""Start weights: a trained generator and its discriminator, from which a new run starts.

They come from another run, or from pretrained networks that are bundled with the package. A new run copies
them into its folder before its first step. So a run that is killed before its first checkpoint starts again
from the same weights, even if the other run no longer exists. This module imports no TensorFlow.

runs/photos/
    start.npz              the weights of both networks
    start.json             their origin: run, step, fingerprint of the checkpoint, recipe and images

Pretrained networks are two files of the same form: pretrained/NAME.npz and pretrained/NAME.json.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ganport.datasets.npz import read_npz
from ganport.runtime.errors import UsageError
from ganport.runtime.files import expand_home, replacing, write_bytes

from .errors import CheckpointError, LayerMismatchError, UnknownStartError
from .recipe import ImageShape, Recipe
from .recipe_file import has_networks_of
from .recipes import RECIPES, load_recipe
from .run_folder import RunFolder
from .run_identity import check_identity

if TYPE_CHECKING:
    import keras

    from .networks import Networks

_PRETRAINED = Path(__file__).parent / "pretrained"
_RUNS = Path("runs")
# Parts of a checkpoint by network. The averaged generator has the weights that are exported, and the
# BatchNormalization statistics that belong to them. Without an average (`ema_decay` 0), a checkpoint holds
# the trained generator there.
_PARTS = {"generator": "average", "discriminator": "discriminator"}

Arrays = Mapping[str, npt.NDArray[Any]]
# A weight: path of its layer, its name in the layer, and its shape.
_Weight = tuple[str, str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """Trained networks from which a new run starts, without their weights.

    Attributes:
        source: Path of the run, or name of the pretrained networks.
        path: Path of the run; None for pretrained networks.
        recipe: Name of their recipe.
        image_shape: Height, width and channels of their images.
        latent_dim: Number of latents per image.
        labels: Names of their labels; empty for networks without labels.
        data: Name, number and licence of the images that they were trained on.
        start: Record of the networks from which their own training started; None if it started from random
            weights.
    """

    source: str
    path: Path | None
    recipe: str
    image_shape: ImageShape
    latent_dim: int
    labels: tuple[str, ...]
    data: Mapping[str, Any]
    start: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class StartWeights:
    """The weights of trained networks from which a new run starts.

    Attributes:
        start: The networks.
        step: Step of the weights.
        fingerprint: SHA-256 of the checkpoint, or of the file of pretrained networks.
        arrays: The weights by name, such as "generator/000/dense/kernel".
        passed_over: For each checkpoint that was tried before, the reason why it was not loaded.
    """

    start: Start
    step: int
    fingerprint: str
    arrays: Arrays
    passed_over: tuple[str, ...] = ()


def find_start(start_from: str | os.PathLike[str]) -> Start:
    """Return the networks of a run, or pretrained networks. A name of pretrained networks is never a folder.

    Args:
        start_from: Run folder, or name of pretrained networks.

    Raises:
        UsageError: A file is given instead of a run folder.
        UnknownStartError: There is no such folder, and no pretrained networks have this name.
        RunNotFoundError: The folder holds no run.
        CheckpointError: The run has no checkpoint, or a record of the run is damaged.
        MixedRunError: A file of the run was edited, or is that of another run.
        RunVersionError: A newer version of ganport has written the run.
        RecipeError: The settings of the run were written by another version of ganport.
    """
    text = os.fspath(start_from)
    if text in pretrained_networks():
        return _pretrained_start(text)
    path = expand_home(text)
    if text and path.is_file():
        raise UsageError(
            f"`start_from` is the file {text}; give a run folder, since the training also needs the weights "
            "of the discriminator."
        )
    if not text or not path.is_dir():
        suggestion = _RUNS / text if text and RunFolder(_RUNS / text).exists() else None
        raise UnknownStartError(text, pretrained_networks(), suggestion)
    return _start_of(RunFolder(path))


def pretrained_networks() -> tuple[str, ...]:
    """Return the names of the pretrained networks that are bundled with the package."""
    return tuple(sorted(path.stem for path in _PRETRAINED.glob("*.npz")))


def _pretrained_start(name: str) -> Start:
    document = json.loads((_PRETRAINED / f"{name}.json").read_text())
    return Start(
        source=name,
        path=None,
        recipe=document["recipe"],
        image_shape=tuple(document["image_shape"]),
        latent_dim=document["latent_dim"],
        labels=tuple(document["labels"]),
        data=document["data"],
        start=document["start"],
    )


def _start_of(run: RunFolder) -> Start:
    check_identity(run)
    recipe, data = run.read_recipe(), run.read_data()
    run.newest_step()  # raises CheckpointError if there is no checkpoint
    return Start(
        source=str(run.path),
        path=run.path,
        recipe=recipe.name,
        image_shape=recipe.image_shape,
        latent_dim=recipe.latent_dim,
        labels=recipe.labels,
        data={key: data[key] for key in ("name", "images", "licence")},
        start=read_start(run),
    )


def load_start_weights(start: Start) -> StartWeights:
    """Return the weights of pretrained networks, or of the checkpoint of a run that `export` takes.

    If this checkpoint is damaged, the newest undamaged one is loaded.

    Raises:
        CheckpointError: Each checkpoint of the run is damaged.
    """
    if start.path is None:
        file = _PRETRAINED / f"{start.source}.npz"
        step = json.loads(file.with_suffix(".json").read_text())["step"]
        return StartWeights(start, step, _hash(file), read_npz(file))
    run, passed_over = RunFolder(start.path), []
    first = run.step_to_export()
    others = [step for step in run.checkpoint_steps() if step != first]
    for step in (first, *reversed(others)):
        file = run.checkpoint_file(step)
        try:
            arrays, fingerprint = _select(read_npz(file)), _hash(file)
        except (OSError, ValueError) as error:
            passed_over.append(f"{file.name} is damaged ({error})")
        else:
            return StartWeights(start, step, fingerprint, arrays, tuple(passed_over))
    raise CheckpointError(run.path, "; ".join(passed_over))


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _select(arrays: Arrays) -> Arrays:
    """Return the weights in a checkpoint from which another run starts.

    Raises:
        ValueError: The checkpoint holds no weights of one of the networks.
    """
    selected: dict[str, npt.NDArray[Any]] = {}
    for network, part in _PARTS.items():
        names = _names(arrays, part)
        if not names:
            raise ValueError(f"it has no weights of the {network}")
        selected |= {f"{network}{name.removeprefix(part)}": arrays[name] for name in names}
    return selected


def _names(arrays: Arrays, part: str) -> list[str]:
    """Return the names of the weights of a network, such as "average/000/dense/kernel", in their order."""
    names = [name for name in arrays if name.startswith(f"{part}/")]
    return sorted(names, key=lambda name: int(name.split("/")[1]))


def check_fit(weights: StartWeights, recipe: Recipe, networks: Networks) -> None:
    """Check that start weights fit the networks of a new run.

    Raises:
        LayerMismatchError: A layer of the networks has other weights. The error names the first such layer.
    """
    start = weights.start
    mismatch = _first_mismatch(weights.arrays, networks) or _other_images(start, recipe, networks)
    if mismatch is not None:
        raise LayerMismatchError(start.source, *mismatch, _remedy(start, recipe))


def _first_mismatch(arrays: Arrays, networks: Networks) -> tuple[str, str, str] | None:
    """Return the first layer whose weights differ, and its weights there and here; None if all fit."""
    for network in _PARTS:
        there, here = _weights_in(arrays, network), _weights_of(getattr(networks, network))
        for one, other in itertools.zip_longest(there, here):
            named = other or one
            if named and (one is None or other is None or one[1:] != other[1:]):
                return f"the layer {named[0]} of the {network}", _describe(one), _describe(other)
    return None


def _other_images(start: Start, recipe: Recipe, networks: Networks) -> tuple[str, str, str] | None:
    """Return the generator's last layer, and the shape of the images there and here; None if it is the same.

    The weights for images of different shapes, such as 64x48 and 48x64, may have the same shapes.
    """
    if start.image_shape == recipe.image_shape:
        return None
    there, here = (f"images of {_size(each.image_shape)}" for each in (start, recipe))
    return f"the layer {networks.generator.layers[-1].name} of the generator", there, here


def _remedy(start: Start, recipe: Recipe) -> str:
    """Return what the user can change so that the networks fit."""
    height, width, channels = start.image_shape
    given = []
    if (height, width) != recipe.image_shape[:2]:
        size = height if height == width else (height, width)
        given.append(f"`image_size={size}`")
    if channels != recipe.image_shape[2]:
        given.append(f"`channels={channels}`")
    if not _is_same_kind(start, recipe):
        options = f", and give {' and '.join(given)}" if given else ""
        return f"train the recipe of these weights, {_recipe_of(start)}, with your images as `data`{options}"
    if start.latent_dim != recipe.latent_dim:
        given.append(f"`settings={{'latent_dim': {start.latent_dim}}}`")
    if given:
        return f"give {' and '.join(given)}"
    if len(start.labels) == len(recipe.labels):
        return "start from a run whose networks have the same layers"
    if start.labels:
        return f"give images of {len(start.labels)} classes, with a folder for each class"
    return f"start from a run with {_count(recipe.labels)}, or choose a recipe without labels"


def _is_same_kind(start: Start, recipe: Recipe) -> bool:
    """Return whether the recipe of the weights has the networks of another recipe, as far as is known."""
    if start.recipe in RECIPES:
        return has_networks_of(recipe, load_recipe(start.recipe))
    return start.recipe == recipe.name


def _recipe_of(start: Start) -> str:
    """Return the name or the file of the recipe of the weights."""
    file = None if start.path is None else RunFolder(start.path).module_file
    return str(file) if file and file.exists() else start.recipe


def _count(labels: tuple[str, ...]) -> str:
    return f"{len(labels)} labels" if labels else "no labels"


def _weights_in(arrays: Arrays, network: str) -> list[_Weight]:
    """Return the weights of a network in a file, in their order."""
    return [_weight(name.split("/", 2)[2], arrays[name].shape) for name in _names(arrays, network)]


def _weights_of(model: keras.Model) -> list[_Weight]:
    """Return the weights of a model, in their order."""
    paths = [variable.path.removeprefix(f"{model.name}/") for variable in model.weights]
    return [_weight(path, tuple(each.shape)) for path, each in zip(paths, model.weights, strict=True)]


def _weight(path: str, shape: tuple[int, ...]) -> _Weight:
    layer, _, name = path.rpartition("/")
    return layer, name, shape


def _describe(weight: _Weight | None) -> str:
    if weight is None:
        return "no weights"
    return f"a {weight[1]} of {_size(weight[2])}"


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def assign_weights(arrays: Arrays, networks: Networks) -> None:
    """Give the networks their start weights. The averaged generator gets those of the generator."""
    generator, discriminator = networks.generator, networks.discriminator
    for network, model in (
        ("generator", generator),
        ("generator", networks.average),
        ("discriminator", discriminator),
    ):
        for name, variable in zip(_names(arrays, network), model.weights, strict=True):
            variable.assign(arrays[name])


def record_start(run: RunFolder, weights: StartWeights) -> None:
    """Copy start weights into the folder of a new run, and record their origin.

    Raises:
        OutputError: The folder is not writable.
    """
    start, arrays = weights.start, dict[str, Any](weights.arrays)
    with replacing(run.start_weights_file) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    document = {
        "source": start.source if start.path is None else str(start.path.resolve()),
        "step": weights.step,
        "fingerprint": weights.fingerprint,
        "recipe": start.recipe,
        "image_shape": start.image_shape,
        "latent_dim": start.latent_dim,
        "labels": start.labels,
        "data": start.data,
        "start": start.start,
    }
    write_bytes(run.start_file, json.dumps(document, indent=2).encode() + b"\n")


def read_start(run: RunFolder) -> dict[str, Any] | None:
    """Return a run's record of the networks from which it started; None if it started from random weights.

    Raises:
        CheckpointError: The record is damaged.
    """
    try:
        document = json.loads(run.start_file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(run.path, f"{run.start_file.name} is damaged ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(run.path, f"{run.start_file.name} is damaged (not a JSON object)")
    return document


def name_start(run: RunFolder) -> str:
    """Return a name of the networks from which a run started; empty if it started from random weights.

    Raises:
        CheckpointError: The record is damaged.

    Example: "cats, step 4,000".
    """
    start = read_start(run)
    if start is None:
        return ""
    try:
        return f"{Path(start['source']).name}, step {start['step']:,}"
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(run.path, f"{run.start_file.name} is damaged ({error!r})") from error


def describe_origin(start: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an exported file says about the networks from which its training started.

    The path of the run is left out, since paths of the training machine are private.

    Args:
        start: The record that `read_start` returned.
    """
    origin = {name: start[name] for name in ("recipe", "step", "fingerprint", "data") if name in start}
    return origin | ({"start": describe_origin(start["start"])} if start.get("start") else {})


def load_recorded_start(run: RunFolder, networks: Networks) -> None:
    """Give the networks of a run the start weights in its folder, if it has any.

    Raises:
        CheckpointError: The start weights are missing or damaged, or do not fit the networks.
    """
    if not run.start_file.exists():
        return
    name = run.start_weights_file.name
    try:
        arrays = read_npz(run.start_weights_file)
        mismatch = _first_mismatch(arrays, networks)
    except ValueError as error:
        raise CheckpointError(run.path, f"{name} is damaged ({error}); start a new run") from error
    if mismatch:
        raise CheckpointError(run.path, f"{name} does not fit the networks of the recipe ({mismatch[0]})")
    assign_weights(arrays, networks)
