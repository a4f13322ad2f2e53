"""The training loop: makes steps in compiled chunks, and writes history, checkpoints and previews."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ganport.datasets.dataset import Dataset
from ganport.runtime import make_grid, save_png, to_uint8
from ganport.runtime.errors import OutputError
from ganport.runtime.files import remove_leftovers, replacing, write_bytes
from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import check_seeds

from .callbacks import Callback, Callbacks, TrainingStart
from .charts import draw_curves, draw_progress
from .checkpoints import load_checkpoint, load_newest_checkpoint, save_checkpoint
from .devices import Devices, check_sharing
from .ema import shipped_generator
from .errors import CheckpointError, DivergedError
from .feeds import Feed, open_feed
from .findings import find_early_stop, find_new, find_not_finite
from .held_out import split_images
from .history import History
from .history_file import parse_history
from .interrupts import StopRequest, stop_requests
from .locks import lock_run
from .measures import FrechetDistance, PixelDistance
from .networks import Networks, build_networks
from .recipe import Recipe
from .run import Run
from .run_folder import FRECHET_DISTANCE, PIXEL_DISTANCE, RunFolder
from .run_identity import record_identity
from .run_records import append_history, record_schedule
from .start_weights import load_recorded_start
from .step import METRICS, Chunk, compile_chunk
from .watch import Watch, kernel_sizes

PREVIEW_SEEDS = 64  # largest number of images in a preview
FIRST_PREVIEW_SECONDS = 20  # training time after which the first preview is made, if none came earlier
FIRST_PREVIEW_MARGIN = 10  # it is not made if a checkpoint follows within this many seconds
PREVIEW_PIXELS = 1024  # largest side of a preview; if the images are large, a preview shows fewer of them


def run_training(
    recipe: Recipe, data: Dataset, run: RunFolder, callback: Callback, devices: Devices
) -> int | None:
    """Train to the recipe's last step, from the newest checkpoint if there is one.

    Args:
        recipe: The recipe, fitted to the data.
        data: The images.
        run: Run folder that `run_records.start_run` created.
        callback: Receiver of the events of the run.
        devices: The devices.

    Returns:
        None if all steps of the recipe were made; else the number of the signal that ended the training
            early, after a checkpoint was saved.

    Raises:
        CheckpointError: There are checkpoints, but each is damaged or belongs to different networks.
        DatasetContentError: An image is damaged. Images of large folders are read during the training.
        DivergedError: A loss or a weight is no longer finite. Earlier checkpoints are kept.
        OutputError: The run folder is not writable. Earlier checkpoints are kept.
        RecipeError: The batch size is not a multiple of the number of devices, or the schedule needs a single
            device.
        RunInUseError: Another process trains this run.
    """
    check_sharing(recipe, devices)
    if not devices.is_chief:
        return _run(recipe, data, run, Callbacks(()), devices)
    with lock_run(run.path) as problem:
        if problem:
            callback.on_warning(problem)
        return _run(recipe, data, run, callback, devices)


def _run(recipe: Recipe, data: Dataset, run: RunFolder, callback: Callback, devices: Devices) -> int | None:
    newest = max(run.checkpoint_steps(), default=0)
    callback.on_start(TrainingStart(Run(run.path), recipe, data, devices.description, newest))
    split = split_images(recipe, data.count)
    frechet = FrechetDistance(data, split.training) if recipe.evaluate_interval else None
    networks = build_networks(recipe, devices.strategy, len(split.training))
    initial_sizes = _initial_sizes(run, networks)
    first, passed_over = load_newest_checkpoint(run, networks)
    for problem in passed_over:
        callback.on_warning(f"{problem}: continuing from the checkpoint before it")
    if devices.is_chief:
        if damaged := _clean_up(run, first):
            lines = "1 damaged line is" if damaged == 1 else f"{damaged} damaged lines are"
            callback.on_warning(f"{run.history_file}: {lines} left out")
        record_schedule(run, recipe, first)
        record_identity(run)
    chunk = compile_chunk(recipe, networks, len(split.training), devices.strategy)
    feed = open_feed(recipe, data, devices.strategy, first)
    with _without_warnings():
        # A chunk without steps only compiles the program, which takes seconds.
        chunk(*feed.chunk(first, first), tf.constant(first), tf.constant(0))
    session = _Session(
        recipe,
        run,
        callback,
        devices,
        networks,
        chunk,
        feed,
        data.classes,
        PixelDistance(data, split.training),
        frechet,
        Watch(recipe, data, split, networks, frechet, initial_sizes),
    )
    # All hosts of a cluster must make the same steps, so a signal to one host does not end the training.
    with stop_requests() if devices.hosts == 1 else contextlib.nullcontext(StopRequest()) as stop:
        last = session.train(first, stop)
    return stop.signal if last < session.recipe.steps else None


def _initial_sizes(run: RunFolder, networks: Networks) -> list[float]:
    """Return the sizes of the generator's kernels before the first step, also if the run is resumed.

    The networks still have their initial weights.
    """
    with contextlib.suppress(CheckpointError):  # `load_newest_checkpoint` raises it if the weights are needed
        load_recorded_start(run, networks)
    return kernel_sizes(networks.generator)


@dataclasses.dataclass
class _Session:
    """A training run in progress.

    Each process of a cluster has a session. Only the session of the chief writes files and reports progress.

    Attributes:
        recipe: The recipe. If the run stops early, its number of steps is the step that was reached.
        run: The run folder.
        callback: Receiver of the events.
        devices: The devices.
        networks: The networks.
        chunk: Compiled function that makes a chunk of steps.
        feed: Source of the images.
        classes: Number of images by class.
        pixel_distance: Pixel distance, which is measured at every checkpoint.
        frechet_distance: Fréchet distance, which is measured at every `evaluate_interval`-th step and at the
            last step; None if the recipe's `evaluate_interval` is 0.
        watch: The facts from which findings follow.
        steps_per_second: Speed of the last chunk.
        has_preview: Whether the run has a preview.
        started: Time at which the session began, in the seconds of `time.perf_counter`.
        earlier_seconds: Training time of the earlier sessions of the run.
    """

    recipe: Recipe
    run: RunFolder
    callback: Callback
    devices: Devices
    networks: Networks
    chunk: Chunk
    feed: Feed
    classes: Mapping[str, int]
    pixel_distance: PixelDistance
    frechet_distance: FrechetDistance | None
    watch: Watch
    steps_per_second: float = 1.0
    has_preview: bool = dataclasses.field(init=False)
    started: float = dataclasses.field(default_factory=time.perf_counter, init=False)
    earlier_seconds: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.has_preview = bool(self.run.preview_files())
        self.earlier_seconds = History(self.run.read_history()).seconds or 0.0

    def train(self, step: int, stop: StopRequest) -> int:
        """Make the steps after `step`, and write history, checkpoints and previews.

        Returns:
            The step that was reached.
        """
        recipe = self.recipe
        saved = step
        try:
            while step < self.recipe.steps and not stop:
                if self._stops_early(step):
                    break
                checkpoint = self._next_checkpoint(step)
                step = self._advance(step, min(checkpoint, _next(step, recipe.log_interval)), stop)
                is_early = self._needs_preview(step) and not stop
                if stop or step == checkpoint or is_early:
                    self._save(step, is_early)
                    saved = step
            if self.devices.is_chief:
                draw_curves(self.run)
                if step == self.recipe.steps:
                    self._finish(step)
        except OutputError as error:
            remedy = f"make room, then continue from step {saved:,} with: {self.run.resume_command}"
            raise OutputError(error.path, error.problem, remedy) from error
        except DivergedError as error:
            with contextlib.suppress(OutputError):
                for finding in find_not_finite(recipe, self.run.read_history(), error.step):
                    self._append(finding.to_line())
                draw_curves(self.run)
            raise
        return step

    def _stops_early(self, step: int) -> bool:
        """Return whether the run ends at a step because its measure does not improve, and record the end.

        The run is then complete: its number of steps becomes the step that was reached, as in a run that
        continues with a shorter schedule.
        """
        if not self.recipe.early_stop or step not in self.run.checkpoint_steps():
            return False
        reason = find_early_stop(self.recipe, self.run.read_history())
        if not reason:
            return False
        self.recipe = dataclasses.replace(self.recipe, steps=step)
        record_schedule(self.run, self.recipe, step)
        self.callback.on_note(f"stopped early at step {step:,}: {reason}")
        return True

    def _next_checkpoint(self, step: int) -> int:
        """Return the next step with a checkpoint: the next multiple of an interval, or the last step."""
        recipe = self.recipe
        intervals = [interval for interval in (recipe.preview_interval, recipe.evaluate_interval) if interval]
        return min(recipe.steps, *(_next(step, interval) for interval in intervals))

    def _needs_preview(self, step: int) -> bool:
        """Return whether the first preview is made now, earlier than the intervals say.

        It is made when the session has trained for 20 seconds, unless a checkpoint follows within the next 10
        seconds. It comes with a checkpoint, like every preview. In a cluster, all hosts must save at the same
        steps, and their times differ. So there is no early preview.
        """
        if self.has_preview or self.devices.hosts > 1:
            return False
        trained = time.perf_counter() - self.started
        is_near = self._next_checkpoint(step) - step < FIRST_PREVIEW_MARGIN * self.steps_per_second
        return trained >= FIRST_PREVIEW_SECONDS and not is_near

    def _advance(self, step: int, end: int, stop: StopRequest) -> int:
        """Make steps and log their mean metrics.

        The steps end at `end`, or earlier if a stop is requested or the first preview is to be made.

        Returns:
            The step that was reached.
        """
        first, totals, seconds = step, np.zeros(len(METRICS)), 0.0
        while step < end and not stop and not self._needs_preview(step):
            # On one host, the number of steps is chosen so that a chunk takes about a second. So the progress
            # bar moves every second, and Ctrl-C is handled within a second. In a cluster, all hosts must make
            # the same chunks, so the number of steps does not depend on the speed of the host.
            pace = round(self.steps_per_second) if self.devices.hosts == 1 else self.feed.chunk_steps
            chunk_end = min(end, step + max(1, min(self.feed.chunk_steps, pace)))
            arguments = self.feed.chunk(step, chunk_end)
            started = time.perf_counter()
            means = self.chunk(*arguments, tf.constant(step), tf.constant(chunk_end - step)).numpy()
            elapsed = time.perf_counter() - started
            self._check_finite(chunk_end, _named(means))
            totals, seconds = totals + means * (chunk_end - step), seconds + elapsed
            self.steps_per_second = (chunk_end - step) / elapsed
            step = chunk_end
            self.callback.on_steps(step, _named(means), self.steps_per_second * self.recipe.batch_size)
        if step > first:
            self._log(
                step, _named(totals / (step - first)), (step - first) * self.recipe.batch_size / seconds
            )
        return step

    def _log(self, step: int, metrics: dict[str, float], images_per_second: float) -> None:
        line = {"step": step, "images_seen": step * self.recipe.batch_size, **metrics}
        seconds = self.earlier_seconds + time.perf_counter() - self.started
        times = {"images_per_second": round(images_per_second, 1), "seconds": round(seconds, 1)}
        self._append({**line, **times})
        self.callback.on_log(step, metrics, images_per_second)

    def _save(self, step: int, is_early: bool) -> None:
        """Write a preview and a checkpoint, after a check that all weights are finite.

        Args:
            step: The step that was reached.
            is_early: Whether this is the first preview, which is earlier than the intervals say.
        """
        state = self.networks.read()
        # The losses were computed before the last update, so they do not show whether that update was finite.
        if not all(np.isfinite(array).all() for array in state.values()):
            raise DivergedError(step, {}, kept=max(self.run.checkpoint_steps(), default=0))
        generator = shipped_generator(self.recipe, self.networks, self.classes)
        state = self.networks.read()  # read again, because `shipped_generator` changed the averaged generator
        measures = self._measure(generator, step, is_early)
        preview = self._generate_preview(generator)
        if not self.devices.is_chief:
            return
        save_png(preview, self.run.preview_file(step))
        self._append({"step": step, **{name: round(value, 5) for name, value in measures.items()}})
        findings = find_new(self.recipe, self.run.read_history())
        for finding in findings:
            self._append(finding.to_line())
        save_checkpoint(self.run, step, state)
        self.has_preview = True
        self.callback.on_checkpoint(step, preview, measures)
        for finding in findings:
            self.callback.on_finding(finding)

    def _measure(self, generator: Any, step: int, is_early: bool) -> dict[str, float]:
        """Return the distances and the facts of a checkpoint by their names in the history.

        The Fréchet distance is also measured at an early first preview, so that a training that goes wrong is
        noticed early.
        """
        label_count = len(self.recipe.labels)
        measures = {PIXEL_DISTANCE: self.pixel_distance.measure(generator, label_count)}
        is_evaluated = is_early or step == self.recipe.steps
        fake = None
        if self.frechet_distance and (is_evaluated or step % self.recipe.evaluate_interval == 0):
            fake = self.frechet_distance.generated_features(generator, label_count)
            measures[FRECHET_DISTANCE] = self.frechet_distance.between(fake)
        return measures | self.watch.measure(generator, fake)

    def _generate_preview(self, generator: Any) -> Any:
        """Return a grid of images, generated from the first seeds, uint8 (height, width, channels)."""
        fitting = (PREVIEW_PIXELS // (self.recipe.image_shape[1] + 2)) ** 2 or 1
        seeds = check_seeds(range(min(PREVIEW_SEEDS, fitting)))
        inputs = generator_inputs(seeds, self.recipe.latent_dim, len(self.recipe.labels))
        return make_grid(to_uint8(generator(inputs, training=False).numpy()))

    def _finish(self, step: int) -> None:
        """Write the animation and the generator, in the form and of the checkpoint that `export` exports."""
        draw_progress(self.run)
        chosen = self.run.step_to_export()
        if chosen != step:
            load_checkpoint(self.run, chosen, self.networks)
        with replacing(self.run.keras_file) as temporary:
            shipped_generator(self.recipe, self.networks, self.classes).save(temporary)

    def _check_finite(self, step: int, metrics: dict[str, float]) -> None:
        if not all(map(math.isfinite, metrics.values())):
            raise DivergedError(step, metrics, kept=max(self.run.checkpoint_steps(), default=0))

    def _append(self, line: dict[str, Any]) -> None:
        if self.devices.is_chief:
            append_history(self.run, line)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress TensorFlow's retracing warning.

    Each run compiles its own program. TensorFlow counts these compilations in the whole process, and at the
    fifth run it would warn that a function is retraced too often.
    """
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _named(means: Any) -> dict[str, float]:
    return dict(zip(METRICS, map(float, means), strict=True))


def _next(step: int, interval: int) -> int:
    """Return the smallest multiple of the interval that is larger than the step."""
    return (step // interval + 1) * interval


def _clean_up(run: RunFolder, first: int) -> int:
    """Remove temporary files that a killed process left, and all lines in the history after step `first`.

    Returns:
        The number of damaged lines, which are removed, too.
    """
    for folder in (run.path, run.checkpoint_file(0).parent, run.preview_file(0).parent):
        remove_leftovers(folder)
    if not run.history_file.exists():
        return 0
    lines, damaged = parse_history(run.history_file.read_bytes())
    kept = [line for line in lines if "steps" in line or line["step"] <= first]
    # A line with "steps" is another schedule, which the repeated steps follow, too.
    texts = [json.dumps(line | {"step": min(line["step"], first)}) + "\n" for line in kept]
    write_bytes(run.history_file, "".join(texts).encode())
    return damaged
