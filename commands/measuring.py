"""`bench`, `evaluate`: how fast a model is, and how good."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from .console import LayoutOption, ModelArgument, ProviderOption, RangeOption, find_model, messages, print_whole, results

if TYPE_CHECKING:
    from ganport.evaluation import Reference
    from ganport.runtime import Contract
    from ganport.runtime.sampler import Pixels, Seeds


def bench(
    model: ModelArgument = None,
    provider: Annotated[str | None, typer.Option(help="Only this one.", show_default="each that works")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of drawing, for each line.")] = 1.0,
    layout: LayoutOption = None,
    value_range: RangeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how long a model takes here: to open, for one image, for many; by provider and threads."""
    from ganport.runtime.bench import measure
    from ganport.runtime.doctor import working_providers
    from ganport.runtime.providers import usable_cores

    path = find_model(model)
    providers = (working_providers() or ["cpu"]) if provider is None else [provider]  # which then says what is missing
    threads = sorted({1, usable_cores()})
    table = Table(box=None, pad_edge=False)
    for heading in ("provider", "threads", "batch", "cold ms", "p50 ms", "p95 ms", "p99 ms", "images/s"):
        table.add_column(heading, justify="left" if heading == "provider" else "right", no_wrap=True)
    found = []
    with messages.status("measuring"):
        for speed in measure(path, providers, threads, seconds=seconds, layout=layout, value_range=value_range):
            found.append(speed)
            times = [f"{each:.3f}" for each in (speed.p50, speed.p95, speed.p99)]
            cells = [str(speed.threads), str(speed.batch), f"{speed.cold:.1f}", *times, f"{speed.rate:,.0f}"]
            table.add_row(speed.provider, *cells)
    if as_json:
        print(json.dumps([dataclasses.asdict(speed) for speed in found], indent=2))
    else:
        print_whole(table)


def evaluate(
    model: ModelArgument = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="mnist, fashion-mnist, rock-paper-scissors; or a folder of pictures, .npz or IDX file of your own.",
            show_default="what the model was trained on",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="To draw.", show_default="as many as the real images' figures are of")
    ] = None,
    truncation: Annotated[float, typer.Option(min=0, max=1, help="Below 1: nearer to the average image.")] = 1.0,
    provider: ProviderOption = "cpu",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the training images lie, to look for copies; else $GANPORT_DATA.")
    ] = None,
    layout: LayoutOption = None,
    value_range: RangeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how good a model's images are, beside real ones: distances, precision and recall, classes, copies."""
    import numpy as np

    from ganport.evaluation import check_images
    from ganport.evaluation import evaluate as evaluate_images
    from ganport.runtime import Sampler
    from ganport.runtime.command import say_provider
    from ganport.runtime.errors import ranges_of

    path = find_model(model)
    with Sampler(path, provider, layout=layout, value_range=value_range) as sampler:
        say_provider(sampler, provider)
        image, source = sampler.model.image, sampler.model.input
        wanted = _evaluated_seeds(seeds, source.seeds)
        with messages.status("reading real images"):
            reference = _load_real_images(data, data_dir, sampler.model)
        if wanted is None:
            wanted = np.arange(reference.floor["images"])
        check_images(reference, len(wanted), image.shape)
        training = _training_images(reference, data_dir, sampler.model)
        asked = None
        if source.labels and source.labels != reference.labels:
            messages.print(f"Its classes are not those of {reference.name}: drawn in turn, without agreement", markup=False)
        elif source.labels and source.kind == "fixed":
            messages.print("Its classes are baked in, in turn: not as often as in the real images; without agreement")
        elif source.labels:
            asked = reference.draw_labels(len(wanted))
        with messages.status("drawing and measuring"):
            parts = [slice(at, at + sampler.batch_size) for at in range(0, len(wanted), sampler.batch_size)]
            drawn = (sampler.sample(wanted[part], truncation, None if asked is None else asked[part]) for part in parts)
            report = evaluate_images(reference, drawn, training, asked)
    drawn_as = {"seeds": seeds or ranges_of(wanted.tolist(), at_most=len(wanted)), "truncation": truncation}
    if as_json:
        file = {"model": path.name, "sha256": sampler.fingerprint(), "provider": sampler.provider}
        print(json.dumps(file | drawn_as | dataclasses.asdict(report), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("figure", "value", "real images", "what it is"):
        table.add_column(heading, justify="right" if heading in ("value", "real images") else "left")
    for row in report.rows():
        table.add_row(*row)
    results.print(table)
    cut = "" if truncation == 1 else f", truncation {truncation:g}"
    results.print(f"{path}, seeds {drawn_as['seeds']}{cut}: {report.describe()}", markup=False)


def _load_real_images(data: str | None, data_dir: Path | None, model: Contract) -> Reference:
    """Return what a model is held against: by default the set that it was trained on."""
    from ganport.evaluation import LABELS, load_reference, own_reference
    from ganport.evaluation.features import FOLDERS, whole_set
    from ganport.runtime.errors import EvaluationError
    from ganport.trainer.datasets import Preparation, load_dataset

    known = model.data.get("name", "")
    trained_on = whole_set(known)
    if data is None and trained_on not in LABELS:
        made_of = f"{known!r}, whose images are not in the box" if known else "something that it does not say"
        raise EvaluationError(f"the model was trained on {made_of}; give --data and the images, or {', '.join(LABELS)}")
    name = whole_set(trained_on if data is None else data)
    if data_dir and (name == FOLDERS or name not in LABELS):
        raise typer.BadParameter(f"--data-dir is for copies, which are not looked for with {name}; leave it out.")
    if name in LABELS:
        reference = load_reference(name)
    else:
        height, width, channels = model.image.shape
        images = load_dataset(name, preparation=Preparation(height if height == width else None, min(channels, 3)))
        if images.image_shape[:2] != (height, width):
            real = "x".join(map(str, images.image_shape[:2]))
            raise EvaluationError(f"the model draws {height}x{width}, the pictures of {name} are {real}; give some of its size")
        reference = own_reference(images.name, images.count, images.take, tuple(images.classes), images.labels)
    if trained_on not in ("", reference.name):
        messages.print(f"The model was trained on {known}, and is held against {reference.name}", markup=False)
    return reference


def _evaluated_seeds(text: str | None, baked: Sequence[int] | None) -> Seeds | None:
    """Return the seeds that are asked for, or baked into the file; None where it is as many as there are real images."""
    import numpy as np

    from ganport.evaluation.report import check_count
    from ganport.runtime import parse_seeds
    from ganport.runtime.errors import SeedError
    from ganport.runtime.writers import LARGEST_GRID

    if text is None:
        return None if baked is None else np.array(baked)
    seeds = parse_seeds(text, at_most=LARGEST_GRID)
    if len(np.unique(seeds)) < len(seeds):
        raise SeedError(text, "lists a seed twice, which would count as two images")
    check_count(len(seeds))  # before thousands of real images are read
    return seeds


def _training_images(reference: Reference, data_dir: Path | None, model: Contract) -> Pixels | None:
    """Return the training images of a set whose real images are others; None where they don't lie here."""
    from ganport.runtime.errors import DatasetNotFoundError
    from ganport.trainer.datasets import find_training_images

    if not reference.is_unseen:
        if model.data.get("name") == reference.name:
            seen = f"The model has seen the images of {reference.name}: copies of them would score as real ones do"
            messages.print(seen, markup=False)
        return None
    training = find_training_images(reference.name, data_dir)
    if training is None and data_dir:
        raise DatasetNotFoundError(reference.name, f"--data-dir is {data_dir}, where its training images are not.")
    return training
