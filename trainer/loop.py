"""Many steps: compiled in chunks, checkpointed, reported."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import tensorflow as tf

from runtime import make_grid, sample_latents, save_png, to_uint8
from runtime.errors import DivergedError, OutputError, system_reason
from runtime.files import remove_leftovers, replacing, write_bytes
from runtime.seeds import check_seeds

from .checkpoints import load_checkpoint, save_checkpoint
from .datasets import Dataset
from .ema import shipped_generator
from .networks import Networks, build_networks
from .recipe import Recipe
from .recipes import load_recipe_module
from .report import Report
from .runs import Run
from .step import METRICS, compile_chunk

CHUNK_STEPS = 100  # steps per call into the compiled code: about a second, so that the bar moves and Ctrl-C is heard
PREVIEW_SEEDS = range(64)


def train(recipe: Recipe, data: Dataset, run: Run, report: Report, first: int = 0) -> None:
    """Train from step `first` to the recipe's last, and leave the run folder that `runs` describes.

    Args:
        recipe: with the image shape of the data.
        data: the images.
        run: a folder that `runs.start_run` made, or one to resume.
        report: is told of every chunk and every checkpoint.
        first: 0, or the step of a checkpoint to resume from.

    Raises:
        CheckpointError: the checkpoint to resume from can't be used.
        DivergedError: a loss is no longer finite; the checkpoints before it are kept.
        OutputError: the run folder can't be written.
    """
    networks = build_networks(recipe, load_recipe_module(recipe.name))
    if first:
        load_checkpoint(run, first, networks)
    _clean_up(run, first)

    images = tf.constant(data.images)  # (n, height, width, channels), uint8, on the device for the whole run
    chunk = compile_chunk(recipe, networks)
    chunk(images, tf.constant(first), tf.constant(0))  # compiles, which takes seconds, and makes no step
    step = first
    while step < recipe.steps:
        stop = _next_stop(step, recipe)
        started = time.perf_counter()
        means = chunk(images, tf.constant(step), tf.constant(stop - step)).numpy()
        images_per_second = (stop - step) * recipe.batch_size / (time.perf_counter() - started)
        metrics = dict(zip(METRICS, means.tolist(), strict=True))
        saving = stop % recipe.preview_interval == 0 or stop == recipe.steps
        # The losses are those before the last update, so what is saved is looked at itself.
        if not all(map(math.isfinite, metrics.values())) or (saving and not networks.are_finite()):
            raise DivergedError(stop, metrics, kept=max(run.checkpoint_steps(), default=0))

        step = stop
        _append_history(run, step, recipe, metrics, images_per_second)
        report.advance(step, metrics, images_per_second)
        if saving:
            _save_preview(run, step, recipe, networks)
            save_checkpoint(run, step, networks)
            report.saved(step)

    with replacing(run.keras_file) as temporary:
        shipped_generator(recipe, networks).save(temporary)


def _next_stop(step: int, recipe: Recipe) -> int:
    next_preview = (step // recipe.preview_interval + 1) * recipe.preview_interval
    return min(step + CHUNK_STEPS, next_preview, recipe.steps)


def _append_history(run: Run, step: int, recipe: Recipe, metrics: dict[str, float], images_per_second: float) -> None:
    line = {"step": step, "images_seen": step * recipe.batch_size, **metrics, "images_per_second": round(images_per_second, 1)}
    try:
        with run.history_file.open("a") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise OutputError(run.history_file, system_reason(error)) from error


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


def _save_preview(run: Run, step: int, recipe: Recipe, networks: Networks) -> None:
    latents = sample_latents(check_seeds(PREVIEW_SEEDS), recipe.latent_dim)
    images = shipped_generator(recipe, networks)(latents, training=False).numpy()
    save_png(make_grid(to_uint8(images)), run.preview_file(step))
