"""Evaluating a model: `evaluate` chooses real images, seeds and labels, and measures the generated images.

The report has remarks on these choices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Unpack

import numpy as np

from ganport.datasets import Dataset, load_images
from ganport.datasets.errors import DatasetNotFoundError
from ganport.datasets.loading import find_training_images
from ganport.datasets.named import LABELS, whole_set
from ganport.runtime import Contract, Sampler
from ganport.runtime.arrays import LabelIndices, Pixels, Seeds
from ganport.runtime.description import DescriptionOptions
from ganport.runtime.display import format_seeds
from ganport.runtime.errors import SeedError, UsageError
from ganport.runtime.providers import ProviderChoice
from ganport.runtime.request import request_seeds
from ganport.runtime.seeds import check_seeds, parse_seeds

from .errors import EvaluationError, ImageShapeError
from .features import SET_NETWORKS, network_for
from .measuring import check_count, check_measurable, measure_images
from .references import Reference, build_reference, load_reference
from .report import Report

Note = Callable[[str], object]  # function that adds a remark to `Report.notes`
PathText = str | os.PathLike[str]

_MAX_SEEDS = 16_384  # limit for the number of seeds, because precision and recall compare all image pairs


def evaluate(
    model: PathText | bytes | Sampler,
    *,
    data: PathText | Dataset | None = None,
    seeds: str | Iterable[int] | None = None,
    truncation: float = 1.0,
    provider: ProviderChoice = "cpu",
    data_dir: PathText | None = None,
    progress: Callable[[str], object] | None = None,
    **description: Unpack[DescriptionOptions],
) -> Report:
    """Return a report that compares a generator's images with real images.

    The report also has a baseline: the same metrics for other real images.

    Args:
        model: Path of a model file, the bytes of one, or the name of a pretrained generator, as for
            `Sampler`. Or an open Sampler, which stays open.
        data: Real images to compare with. The features of "mnist", "fashion-mnist" and "rock-paper-scissors"
            are bundled. Other images are given as the path of a folder or file, or as a Dataset. One half of
            them is compared with the generated images, and the other half gives the baseline. For a Dataset
            of one of the three sets, the bundled features are used, unless images of "mnist" or
            "fashion-mnist" were resized or converted to colour. By default the set that the model was trained
            on.
        seeds: Seeds to generate, 50 to 16,384 different ones, as a text such as "0-999" or as whole numbers.
            By default 0, 1, 2 and so on, as many seeds as there are real images to compare with. If the
            model file has fixed seeds, the fixed seeds are the default.
        truncation: Factor by which the latents are scaled towards their mean, as for `Sampler.sample`.
        provider: Execution provider, as for `Sampler`. Leave it out if `model` is an open Sampler.
        data_dir: Folder with the training images of "mnist" or "fashion-mnist", which are needed to detect
            copies of training images. By default they are looked for in the folder $GANPORT_DATA. If they
            are not found, `nearest_in_training` is None in the report.
        progress: Function that is called with the name of each step when the step begins.
        **description: Description of a third-party generator, as for `Sampler`.

    Raises:
        TooFewImagesError: There are fewer than 50 seeds, or `data` has fewer than 100 images.
        ImageShapeError: The model's images have a different shape than the images of `data`.
        EvaluationError: The training set of the model is unknown or not bundled, and `data` is not given.
        DatasetError: The images of `data` or `data_dir` don't exist, or can't be read.
        UsageError: An argument has an invalid value, or two arguments contradict each other.
        ModelError: The model can't be opened. Other errors of `Sampler` are raised, too.

    Example::

        report = ganport.evaluate("mnist")
        print(report.frechet, report.baseline["frechet"])
    """
    report_step = progress or _ignore
    report_step("opening the model")
    with _open(model, provider, description) as sampler:
        contract = sampler.contract
        notes: list[str] = []
        chosen = _choose_seeds(contract, seeds, truncation)
        report_step("reading real images")
        reference = _find_reference(data, contract, data_dir, notes.append)
        if chosen is None:
            chosen = np.arange(reference.baseline["images"])
        check_measurable(reference, len(chosen), contract.image.shape)
        training = _find_training(reference, data, data_dir, contract, notes.append)
        labels = _choose_labels(reference, len(chosen), contract, notes.append)
        report_step("generating and measuring")
        images = _generate(sampler, chosen, labels, truncation)
        report = measure_images(reference, images, training=training, labels=labels)
        return dataclasses.replace(
            report,
            model=_file_name(sampler),
            sha256=sampler.model.fingerprint(),
            provider=sampler.provider,
            seeds=seeds if isinstance(seeds, str) else format_seeds(chosen.tolist(), at_most=len(chosen)),
            truncation=float(truncation),
            notes=tuple(notes),
        )


def _ignore(_: str) -> None:
    """Do nothing. `evaluate` calls this function if `progress` is None."""


@contextlib.contextmanager
def _open(
    model: PathText | bytes | Sampler,
    provider: ProviderChoice,
    description: DescriptionOptions,
) -> Iterator[Sampler]:
    """Yield an open Sampler of the model.

    If `model` is a Sampler, it stays open. Otherwise a new Sampler is opened, and closed after the `with`
    block.
    """
    if isinstance(model, Sampler):
        if provider not in ("cpu", model.provider) or description:
            raise UsageError(
                f"`model` is a Sampler that is open on {model.provider}; give `provider` and the description "
                "of the generator to the Sampler."
            )
        yield model
        return
    with Sampler(model, provider=provider, **description) as sampler:
        yield sampler


def _file_name(sampler: Sampler) -> str:
    source = sampler.model.source
    return "" if isinstance(source, bytes) else source.name


def _choose_seeds(contract: Contract, seeds: str | Iterable[int] | None, truncation: float) -> Seeds | None:
    """Return the seeds to generate; None if neither the caller nor the model file fixes the seeds.

    Invalid seeds raise an error here, before thousands of real images are read.

    Raises:
        SeedError: The seeds are malformed, too many, or not all different.
        TooFewImagesError: There are fewer than 50 seeds.
        UsageError: The truncation is out of range. Other errors of `request_seeds` are raised, too.
    """
    if seeds is None:
        fixed = contract.input.seeds
        request_seeds(contract, fixed or (0,), truncation=truncation)
        if fixed is None:
            return None
        check_count(len(fixed), "images, the fixed seeds of the model,")
        return np.array(fixed)
    chosen = parse_seeds(seeds, at_most=_MAX_SEEDS) if isinstance(seeds, str) else check_seeds(seeds)
    text = seeds if isinstance(seeds, str) else format_seeds(chosen.tolist())
    if len(chosen) > _MAX_SEEDS:
        raise SeedError(text, f"lists {len(chosen):,} seeds, and the limit is {_MAX_SEEDS:,}")
    if len(np.unique(chosen)) < len(chosen):
        raise SeedError(text, "lists a seed twice, which would count as two images")
    check_count(len(chosen), "images, one for each seed in `seeds`,")
    request_seeds(contract, chosen, truncation=truncation)
    return chosen


def _find_reference(
    data: PathText | Dataset | None, contract: Contract, data_dir: PathText | None, note: Note
) -> Reference:
    """Return the Reference to compare with: the features of real images, and a baseline.

    If `data` is None, the real images are those of the data set that the model was trained on.
    """
    trained_on = str(contract.data.get("name", ""))
    name = _bundled_name(data, trained_on)
    if name is not None:
        _check_data_dir(data_dir, name)
        reference = load_reference(name, image_side=min(contract.image.shape[:2]))
    elif data is not None:
        _check_data_dir(data_dir, name)
        reference = build_reference(_load(data, contract))
    else:
        known = f"{trained_on!r}, which is not bundled" if trained_on else "data that it does not name"
        problem = f"the model was trained on {known}; give real images as `data`, or {', '.join(LABELS)}"
        raise EvaluationError(problem)
    if trained_on and whole_set(trained_on) != reference.name:
        note(f"The model was trained on {trained_on}, and it is compared with {reference.name}.")
    return reference


def _check_data_dir(data_dir: PathText | None, name: str | None) -> None:
    """Raise UsageError if `data_dir` is given, but can't be used.

    Copies of training images can be detected only with the bundled references of MNIST and Fashion-MNIST.
    `name` is the name of the bundled reference, or None for the user's own images.
    """
    if data_dir is not None and name not in SET_NETWORKS:
        raise UsageError(
            f"`data_dir` is {os.fspath(data_dir)}; it is for finding copies of training images, which is "
            f"possible for {' and '.join(SET_NETWORKS)} only. Leave it out."
        )


def _bundled_name(data: PathText | Dataset | None, trained_on: str) -> str | None:
    """Return the name of the bundled reference to use; None if no bundled reference fits."""
    if data is None:
        name = whole_set(trained_on)
    elif isinstance(data, Dataset):
        name = whole_set(data.name)
        if name in SET_NETWORKS and network_for(name, data.image_shape) != name:
            # The set was resized or converted to colour. The network of the set takes only 28x28 grey images.
            return None
    else:
        name = whole_set(os.fspath(data))
    return name if name in LABELS else None


def _load(data: PathText | Dataset, contract: Contract) -> Dataset:
    """Return the user's own images, in the size of the model's images.

    Raises:
        DatasetError: The images don't exist, or can't be read.
        ImageShapeError: The images and the model's images differ in height, width or channels.
    """
    height, width, channels = contract.image.shape
    if isinstance(data, Dataset):
        images = data
    else:
        size = height if height == width else None
        try:
            images = load_images(data, image_size=size, channels=min(channels, 3))
        except DatasetNotFoundError as error:
            remedy = (
                f"`data` takes {', '.join(LABELS)}, a folder of images, or an .npz or IDX file that exists."
            )
            raise DatasetNotFoundError(error.got, remedy) from error
    if images.image_shape != (height, width, min(channels, 3)):
        expected, found = (
            "x".join(map(str, shape)) for shape in ((height, width, channels), images.image_shape)
        )
        problem = f"the model generates {expected} images, and those of {images.name} are {found}"
        raise ImageShapeError(images.image_shape, f"{problem}; give `data` of the same shape")
    return images


def _find_training(
    reference: Reference,
    data: PathText | Dataset | None,
    data_dir: PathText | None,
    contract: Contract,
    note: Note,
) -> Pixels | None:
    """Return the training images with which copies are detected.

    The result is None if the training images are not found. It is also None if the real images of the
    reference may be training images themselves, because copies can't be detected then.

    Raises:
        DatasetNotFoundError: The training images are not in `data_dir`.
    """
    if not reference.is_held_out:
        if contract.data.get("name") == reference.name:
            note(
                f"The model was trained on these real images of {reference.name}. A copy of such an "
                "image would score like a real image."
            )
        return None
    if isinstance(data, Dataset) and data.name == reference.name:
        return data.take(range(data.count))
    training = find_training_images(reference.name, None if data_dir is None else Path(data_dir))
    if training is None and data_dir is not None:
        remedy = f"`data_dir` is {os.fspath(data_dir)}, which does not hold its training images."
        raise DatasetNotFoundError(reference.name, remedy)
    return training


def _choose_labels(reference: Reference, count: int, contract: Contract, note: Note) -> LabelIndices | None:
    """Return the label to request from the generator for each image.

    The result is None if the generator takes no labels, if its labels are not those of the real images, or if
    the model file has fixed seeds.
    """
    labels = contract.input.labels
    if not labels:
        return None
    if labels != reference.labels:
        note(
            f"The labels of the model are not those of {reference.name}. The images have each label in turn, "
            "and label accuracy is not measured."
        )
        return None
    if contract.input.kind == "fixed":
        note(
            "The labels of the model's fixed seeds are equally frequent, which those of the real images may "
            "not be. Label accuracy is not measured."
        )
        return None
    return reference.matching_labels(count)


def _generate(
    sampler: Sampler, seeds: Seeds, labels: LabelIndices | None, truncation: float
) -> Iterator[Pixels]:
    """Yield the images of the seeds batch by batch."""
    size = sampler.model.batch_size
    for start in range(0, len(seeds), size):
        part = slice(start, start + size)
        yield sampler.sample(
            seeds[part], labels=None if labels is None else labels[part], truncation=truncation
        )
