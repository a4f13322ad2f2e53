"""Many steps: compiled in chunks, checkpointed, reported."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ganport.runtime import make_grid, save_png, to_uint8
from ganport.runtime.errors import DivergedError, OutputError, RecipeError, system_reason
from ganport.runtime.files import remove_leftovers, replacing, write_bytes
from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import check_seeds

from .charts import draw_curves, draw_progress
from .checkpoints import load_newest_checkpoint, save_checkpoint
from .datasets import Dataset
from .devices import Devices
from .distance import Reference
from .ema import shipped_generator
from .feeds import Feed, open_feed
from .interrupts import StopRequest, stop_requests
from .networks import Networks, build_networks
from .quality import Quality
from .recipe import Recipe
from .report import Observer
from .runs import Run
from .step import METRICS, Chunk, compile_chunk

PREVIEW_SEEDS = 64
PREVIEW_PIXELS = 1024  # a grid has at most so many a side, and so fewer seeds for large images


def train(recipe: Recipe, data: Dataset, run: Run, observers: Sequence[Observer], devices: Devices) -> int | None:
    """Train to the recipe's last step, from the newest checkpoint if there is one; leave the folder that `runs` describes.

    Args:
        recipe: with the image shape of the data.
        data: the images.
        run: a folder that `runs.start_run` made.
        observers: are told what happens.
        devices: to work on.

    Returns:
        None when the last step is made; the number of the signal when one stopped it before, with everything saved.

    Raises:
        CheckpointError: there are checkpoints, and none can be used.
        DatasetContentError: a picture that is read while training can't be.
        DivergedError: a loss is no longer finite; the checkpoints before it are kept.
        OutputError: the run folder can't be written; the checkpoints before it are kept.
        RecipeError: the devices can't share the recipe's batch.
        RunInUseError: another process trains this run.
    """
    _check_sharing(recipe, devices)
    with run.locked() if devices.is_chief else contextlib.nullcontext():
        return _train(recipe, data, run, observers, devices)


def _train(recipe: Recipe, data: Dataset, run: Run, observers: Sequence[Observer], devices: Devices) -> int | None:
    quality = Quality(data) if recipe.evaluate_interval else None
    networks = build_networks(recipe, run.load_module(), devices.strategy, data.count)
    first, passed_over = load_newest_checkpoint(run, networks)
    for observer, warning in itertools.product(observers, passed_over):
        observer.warned(f"{warning}: going on from the one before it")
    if devices.is_chief:
        _clean_up(run, first)
    chunk = compile_chunk(recipe, networks, data.count, devices.strategy)
    feed = open_feed(recipe, data, devices.strategy, first)
    chunk(*feed.chunk(first, first), tf.constant(first), tf.constant(0))  # compiles, which takes seconds, and makes no step
    for observer in observers:
        observer.began(first)
    session = _Session(recipe, run, observers, devices, networks, chunk, feed, data.classes, Reference(data), quality)
    # Hosts of a cluster must all make the same steps; a signal that one of them hears is not for the others.
    with stop_requests() if devices.hosts == 1 else contextlib.nullcontext(StopRequest()) as stop:
        last = session.work(first, stop)
    return stop.signal if last < recipe.steps else None


@dataclasses.dataclass
class _Session:
    """What a run works with. Every process of a cluster does the same; only the chief writes."""

    recipe: Recipe
    run: Run
    observers: Sequence[Observer]
    devices: Devices
    networks: Networks
    chunk: Chunk
    feed: Feed
    classes: Mapping[str, int]
    reference: Reference
    quality: Quality | None
    steps_per_second: float = 1.0

    def work(self, step: int, stop: StopRequest) -> int:
        """Make the steps from `step` on, with history, checkpoints and previews where they are due; return the last step."""
        recipe = self.recipe
        saved = step
        try:
            while step < recipe.steps and not stop:
                due = {_next(step, interval) for interval in self._intervals}
                step = self._advance(step, min(*due, _next(step, recipe.log_interval)), stop)
                if stop or step == recipe.steps or step in due:
                    self._save(step)
                    saved = step
            if self.devices.is_chief:
                draw_curves(self.run)
                if step == recipe.steps:
                    self._finish()
        except OutputError as error:
            remedy = f"make room, and go on from step {saved:,} with: {self.run.resume_command}"
            raise OutputError(error.path, error.problem, remedy) from error
        except DivergedError:
            with contextlib.suppress(OutputError):
                draw_curves(self.run)
            raise
        return step

    @property
    def _intervals(self) -> list[int]:
        """Steps from one checkpoint to the next."""
        return [interval for interval in (self.recipe.preview_interval, self.recipe.evaluate_interval) if interval]

    def _advance(self, step: int, end: int, stop: StopRequest) -> int:
        """Make the steps up to `end`, or up to a stop; add their line to the history; return the last of them."""
        end = min(end, self.recipe.steps)
        first, totals, seconds = step, np.zeros(len(METRICS)), 0.0
        while step < end and not stop:
            # Pieces of about a second, so that the bar moves and Ctrl-C is heard, whatever a step costs.
            pace = round(self.steps_per_second) if self.devices.hosts == 1 else self.feed.chunk_steps
            piece = min(end, step + max(1, min(self.feed.chunk_steps, pace)))
            arguments = self.feed.chunk(step, piece)
            started = time.perf_counter()
            means = self.chunk(*arguments, tf.constant(step), tf.constant(piece - step)).numpy()
            elapsed = time.perf_counter() - started
            self._check_finite(piece, _named(means))
            totals, seconds = totals + means * (piece - step), seconds + elapsed
            self.steps_per_second = (piece - step) / elapsed
            step = piece
            for observer in self.observers:
                observer.advanced(step, _named(means), self.steps_per_second * self.recipe.batch_size)
        if step > first:
            self._log(step, _named(totals / (step - first)), (step - first) * self.recipe.batch_size / seconds)
        return step

    def _log(self, step: int, metrics: dict[str, float], images_per_second: float) -> None:
        line = {"step": step, "images_seen": step * self.recipe.batch_size, **metrics}
        self._append({**line, "images_per_second": round(images_per_second, 1)})
        for observer in self.observers:
            observer.logged(step, metrics, images_per_second)

    def _save(self, step: int) -> None:
        """Write a preview and a checkpoint; not before the weights are known to be finite."""
        state = self.networks.read()
        # The losses are those before the last update, so what is saved is looked at itself.
        if not all(np.isfinite(array).all() for array in state.values()):
            raise DivergedError(step, {}, kept=max(self.run.checkpoint_steps(), default=0))
        generator = shipped_generator(self.recipe, self.networks, self.classes)
        state = self.networks.read()  # with the statistics of the average
        classes = len(self.recipe.labels)
        measured = {"distance": self.reference.distance(generator, classes)}
        if self.quality and (step % self.recipe.evaluate_interval == 0 or step == self.recipe.steps):
            measured["frechet"] = self.quality.frechet(generator, classes)
        count = min(PREVIEW_SEEDS, (PREVIEW_PIXELS // (self.recipe.image_shape[1] + 2)) ** 2 or 1)
        inputs = generator_inputs(check_seeds(range(count)), self.recipe.latent_dim, classes)
        grid = make_grid(to_uint8(generator(inputs, training=False).numpy()))
        if not self.devices.is_chief:
            return
        save_png(grid, self.run.preview_file(step))
        self._append({"step": step, **{name: round(value, 5) for name, value in measured.items()}})
        save_checkpoint(self.run, step, state)
        for observer in self.observers:
            observer.saved(step, grid, measured)

    def _finish(self) -> None:
        draw_progress(self.run)
        with replacing(self.run.keras_file) as temporary:
            shipped_generator(self.recipe, self.networks, self.classes).save(temporary)

    def _check_finite(self, step: int, metrics: dict[str, float]) -> None:
        if not all(map(math.isfinite, metrics.values())):
            raise DivergedError(step, metrics, kept=max(self.run.checkpoint_steps(), default=0))

    def _append(self, line: dict[str, Any]) -> None:
        if not self.devices.is_chief:
            return
        try:
            with self.run.history_file.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(self.run.history_file, system_reason(error)) from error


def _check_sharing(recipe: Recipe, devices: Devices) -> None:
    if recipe.batch_size % devices.count:
        raise RecipeError(
            f"A batch of {recipe.batch_size} can't be shared by {devices.description}; take a --batch-size that "
            f"{devices.count} divides."
        )
    if devices.count > 1 and recipe.schedule == "alternating":
        raise RecipeError(
            f"The schedule {recipe.schedule!r} works on one device only: TensorFlow can't choose between updates there."
        )


def _named(means: Any) -> dict[str, float]:
    return dict(zip(METRICS, map(float, means), strict=True))


def _next(step: int, interval: int) -> int:
    """Return the next multiple of the interval."""
    return (step // interval + 1) * interval


def _clean_up(run: Run, first: int) -> None:
    """Remove what a killed run left: temporary files, and history of steps that are about to be made again."""
    for folder in (run.path, run.checkpoint_file(0).parent, run.preview_file(0).parent):
        remove_leftovers(folder)
    if run.history_file.exists():
        write_bytes(run.history_file, _history_up_to(run.history_file, first))


def _history_up_to(file: Path, step: int) -> bytes:
    kept = []
    for line in file.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # the line that was being written when the run was killed
    return "".join(kept).encode()
