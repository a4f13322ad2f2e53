"""What people see of a run: lines, TensorBoard, curves, the animation."""

import dataclasses
import io
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from rich.console import Console

from ganport.runtime.errors import MissingPackageError
from ganport.trainer.charts import draw_curves, draw_progress
from ganport.trainer.report import Report, TensorBoard
from ganport.trainer.runs import Run

METRICS = {"d_loss": 0.5, "g_loss": 1.5, "d_accuracy": 0.75}


def test_without_a_terminal_a_checkpoint_is_one_line():
    said = io.StringIO()
    with Report(Console(file=said, width=200), 30) as report:
        report.began(0)
        report.advanced(10, METRICS, 1234.0)
        report.logged(10, METRICS, 1234.0)
        report.saved(10, np.zeros((2, 2, 1), np.uint8), {"distance": 0.25, "frechet": 1.5})
    assert said.getvalue() == "step 10 of 30  D 0.500  G 1.500  D right 75%  1,234 images/s  distance 0.250  frechet 1.500\n"


def test_on_a_terminal_the_bar_says_it_all():
    said = io.StringIO()
    with Report(Console(file=said, width=120, force_terminal=True), 30) as report:
        report.began(0)
        report.advanced(10, METRICS, 1234.0)
    for word in ("training", "10/30", "D 0.500", "G 1.500", "D right 75%", "1,234 images/s"):
        assert word in said.getvalue()


def test_tensorboard_gets_the_losses_and_the_previews(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TensorBoard(tmp_path) as board:
        board.logged(10, METRICS, 1234.0)
        board.saved(10, np.zeros((2, 2, 1), np.uint8), {"distance": 0.25, "frechet": 1.5})
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert set(tags["tensors"]) == {"d_loss", "g_loss", "d_accuracy", "images_per_second", "distance", "frechet", "preview"}
    (event,) = events.Tensors("d_loss")
    assert event.step == 10
    assert float(tf.make_ndarray(event.tensor_proto)) == pytest.approx(0.5)


def test_tensorboard_that_is_missing_gives_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"ganport\[tensorboard\]"):
        TensorBoard(tmp_path)


def test_progress_shows_the_previews_in_order_and_not_too_many(tmp_path):
    run = Run(tmp_path)
    for step in range(0, 1000, 10):
        run.preview_file(step).parent.mkdir(exist_ok=True)
        Image.new("L", (2000, 1000), step // 4).save(run.preview_file(step))
    draw_progress(run)
    with Image.open(run.progress_file) as animation:
        assert animation.n_frames == 60
        assert animation.size == (512, 256)
        shades = []
        for frame in range(animation.n_frames):
            animation.seek(frame)
            shades.append(animation.convert("L").getpixel((5, 5)))
        assert animation.info["duration"] == 2000
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (0, 990 // 4)


def test_curves_of_a_run_without_history_are_empty_axes(tmp_path):
    draw_curves(Run(tmp_path))
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (900, 800)


def test_curves_follow_the_history(tmp_path, run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=10))
    with Image.open(run.curves_file) as picture:
        empty = np.asarray(picture)
    with run.history_file.open("a") as file:
        file.write('{"step": 20, "d_loss": 5.0, "g_loss": 9.0, "d_accuracy": 0.1}\n')
    draw_curves(run)
    with Image.open(run.curves_file) as picture:
        assert not np.array_equal(empty, np.asarray(picture))
