"""Reports of a run: the terminal, TensorBoard, a notebook, curves, the animation."""

import dataclasses
import io
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from rich.console import Console

from ganport.runtime.errors import MissingPackageError
from ganport.trainer.callbacks import Callback, Callbacks, TrainingStart
from ganport.trainer.charts import draw_curves, draw_progress
from ganport.trainer.findings import Finding
from ganport.trainer.notebook import NotebookProgress
from ganport.trainer.run import Run
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run
from ganport.trainer.tensorboard_logs import TensorBoardLogs
from ganport.trainer.terminal import TerminalProgress
from tests.conftest import ROOT
from tests.trainer.conftest import write_run

METRICS = {"d_loss": 0.5, "g_loss": 1.5, "d_accuracy": 0.75}
MEASURES = {"distance": 0.25, "frechet": 1.5}
PREVIEW = np.zeros((2, 2, 1), np.uint8)


@pytest.fixture
def start(tmp_path, small_recipe, small_data):
    start_run(RunFolder(tmp_path / "run"), small_recipe, small_data)
    return TrainingStart(Run(tmp_path / "run"), small_recipe, small_data, "CPU", 0)


def report_one_checkpoint(console, start):
    progress = TerminalProgress(console)
    progress.on_stage("reading images")
    progress.on_start(start)
    progress.on_steps(10, METRICS, 1234.0)
    progress.on_log(10, METRICS, 1234.0)
    progress.on_checkpoint(10, PREVIEW, MEASURES)
    progress.on_end()


def test_without_a_terminal_each_checkpoint_has_one_line(start):
    output = io.StringIO()
    report_one_checkpoint(Console(file=output, width=200), start)
    first, second, third = output.getvalue().splitlines()
    run = start.run.path
    assert first == f"mnist-minimal: 50 images of 28x28x1 (squares), batch 8, 25 steps, on CPU -> {run}"
    metrics = "D 0.500  G 1.500  D acc 75%  1,234 images/s"
    assert second == f"step 10 of 25  {metrics}  pixel distance 0.250  Fréchet distance 1.500"
    assert third == f"first preview: {run}/previews/step-00000010.png"


def test_a_terminal_shows_a_progress_bar(start):
    output = io.StringIO()
    report_one_checkpoint(Console(file=output, width=120, force_terminal=True), start)
    for words in ("10/25", "D 0.500", "G 1.500", "D acc 75%", "1,234 images/s"):
        assert words in output.getvalue()


def test_a_narrow_terminal_shows_the_step_and_the_remaining_time(start):
    now, output = 0.0, io.StringIO()
    recipe = dataclasses.replace(start.recipe, steps=300_000, preview_interval=300_000)
    progress = TerminalProgress(Console(file=output, width=80, force_terminal=True), clock=lambda: now)
    progress.on_start(dataclasses.replace(start, recipe=recipe))
    for step in (1, 1000, 250_000):
        now += 5
        progress.on_steps(step, METRICS, 1234.0)
    progress.on_end()
    for words in ("250000/300000", "D 0.500  G 1.500  D acc 75%", "about 2 s left"):
        assert words in output.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_path_of_the_first_preview_is_printed_once(start, is_terminal):
    output = io.StringIO()
    progress = TerminalProgress(Console(file=output, width=200, force_terminal=is_terminal))
    progress.on_start(start)
    for step in (10, 20, 25):
        progress.on_steps(step, METRICS, 1234.0)
        progress.on_checkpoint(step, PREVIEW, MEASURES)
    progress.on_end()
    path = f"first preview: {start.run.path}/previews/step-00000010.png"
    assert output.getvalue().count("preview: ") == output.getvalue().count(path) == 1


def test_path_of_the_last_preview_is_not_that_of_the_first(start):
    """The command prints the path of the last preview itself."""
    output = io.StringIO()
    progress = TerminalProgress(Console(file=output, width=200))
    progress.on_start(start)
    progress.on_steps(25, METRICS, 1234.0)
    progress.on_checkpoint(25, PREVIEW, MEASURES)
    progress.on_end()
    assert "first preview" not in output.getvalue()


def test_remaining_time_is_printed_once_and_shown_at_every_checkpoint(start):
    """A step takes a second on the clock of this test, and a checkpoint takes 30 seconds."""
    now, output = 0.0, io.StringIO()
    recipe = dataclasses.replace(start.recipe, steps=3000, preview_interval=1000)
    progress = TerminalProgress(Console(file=output, width=200), clock=lambda: now)
    progress.on_start(dataclasses.replace(start, recipe=recipe))
    for step in range(1, 1001):
        now += 1
        progress.on_steps(step, METRICS, 8.0)
    now += 30
    progress.on_checkpoint(1000, PREVIEW, MEASURES)
    progress.on_end()
    _, second, third, *_ = output.getvalue().splitlines()
    assert second == "about 50 min to go, at 8 images/s"
    assert third.endswith("about 34 min left")


@pytest.mark.parametrize(("first_step", "words"), [(10, "from step 10 to 25"), (25, "complete at step 25")])
def test_first_line_says_where_a_resumed_run_begins(start, first_step, words):
    output = io.StringIO()
    progress = TerminalProgress(Console(file=output, width=200))
    progress.on_start(dataclasses.replace(start, first_step=first_step))
    progress.on_end()
    assert words in output.getvalue()


def test_events_reach_all_callbacks_in_their_order():
    events = []

    class Recorder(Callback):
        def __init__(self, name):
            self.name = name

        def on_log(self, step, metrics, images_per_second):
            events.append((self.name, step))

    callbacks = Callbacks([Recorder("first"), Recorder("second")])
    callbacks.on_log(3, METRICS, 1.0)
    callbacks.on_end()
    assert events == [("first", 3), ("second", 3)]


FINDING = Finding("collapse", 10, "the images are too much alike", "change `loss`")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_finding_is_printed_with_its_step_and_remedy(start, is_terminal):
    output = io.StringIO()
    progress = TerminalProgress(Console(file=output, width=200, force_terminal=is_terminal))
    callbacks = Callbacks([progress])
    callbacks.on_start(start)
    callbacks.on_checkpoint(10, PREVIEW, {**MEASURES, "variety": 0.1})
    callbacks.on_finding(FINDING)
    callbacks.on_end()
    assert "step 10: collapse: the images are too much alike; change `loss`" in output.getvalue()
    assert "variety" not in output.getvalue()  # the history and the curves have it


def test_curves_show_the_facts_and_mark_the_findings(tmp_path, small_recipe, small_data):
    lines = [{"step": step, "frechet": 9.0, "variety": 0.1, "copies": 0.0} for step in (10, 20)]
    charts = []
    for name, findings in (("plain", []), ("marked", [FINDING.to_line()])):
        run = write_run(tmp_path / name, small_recipe, small_data, lines + findings)
        draw_curves(run)
        with Image.open(run.curves_file) as curves:
            charts.append(np.asarray(curves.convert("RGB")).astype(int))
    red = [int((np.abs(chart - [214, 39, 40]).sum(axis=-1) < 30).sum()) for chart in charts]
    assert charts[0].shape == charts[1].shape == (1400, 900, 3)  # five charts
    assert red[0] == 0
    assert red[1] > 500


def test_tensorboard_gets_the_losses_and_the_previews(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = TensorBoardLogs(tmp_path)
    logs.on_log(10, METRICS, 1234.0)
    logs.on_checkpoint(10, PREVIEW, MEASURES)
    logs.on_end()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["tensors"]) == {*METRICS, *MEASURES, "images_per_second", "preview"}
    (event,) = events.Tensors("d_loss")
    assert event.step == 10
    assert float(tf.make_ndarray(event.tensor_proto)) == pytest.approx(0.5)


def test_missing_tensorboard_gives_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"ganport\[tensorboard\]"):
        TensorBoardLogs(tmp_path)


def test_outside_of_a_notebook_its_progress_is_silent(start, capsys):
    progress = NotebookProgress()
    progress.on_stage("reading images")
    progress.on_start(start)
    progress.on_steps(10, METRICS, 1234.0)
    progress.on_checkpoint(10, PREVIEW, MEASURES)
    progress.on_warning("a problem")
    progress.on_end()
    assert capsys.readouterr() == ("", "")


# The cell trains for a few steps without a `callbacks` argument.
CELL = """
import sys
sys.path.insert(0, {root!r})
import ganport
run = ganport.train("mnist-dropout", data="digits", steps=4, preview_interval=2, out={out!r})
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's packages
def test_a_notebook_shows_a_progress_bar_and_the_newest_preview(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [
        nbformat.v4.new_code_cell(CELL.format(root=str(ROOT), out=str(tmp_path / "run"))),
        nbformat.v4.new_code_cell("run"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    bar, preview = [output for output in outputs if output.output_type == "display_data"]
    assert "<progress" in bar.data["text/html"]
    assert "step 4 of 4" in bar.data["text/html"]
    assert "pixel distance" in bar.data["text/html"]
    assert preview.data["image/png"]
    (result,) = notebook.cells[1].outputs
    assert "of 'mnist-dropout', step 4 of 4" in result.data["text/plain"]
    assert result.data["image/png"]


def test_animation_shows_the_previews_in_order_and_not_too_many(tmp_path):
    run = RunFolder(tmp_path)
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
    draw_curves(RunFolder(tmp_path))
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (900, 800)


def test_curves_follow_the_history(tmp_path):
    run = RunFolder(tmp_path)
    draw_curves(run)
    with Image.open(run.curves_file) as image:
        empty = np.asarray(image)
    lines = [{"step": step, "d_loss": 5.0 / step, "g_loss": 9.0, "d_accuracy": 0.1} for step in (1, 2)]
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_curves(run)
    with Image.open(run.curves_file) as image:
        assert not np.array_equal(empty, np.asarray(image))


def test_curves_mark_the_step_from_which_a_longer_schedule_counts(tmp_path):
    run = RunFolder(tmp_path)
    lines = [{"step": step, "d_loss": 0.5, "g_loss": 0.5, "d_accuracy": 0.1} for step in (100, 200)]
    charts = []
    for schedules in ([], [{"step": 150, "steps": 200}]):
        run.history_file.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *schedules]))
        draw_curves(run)
        with Image.open(run.curves_file) as image:
            charts.append(np.asarray(image.convert("RGB")).astype(int))
    plain, marked = charts
    changed = np.abs(plain - marked).max(axis=2) > 50
    columns = np.flatnonzero(changed.sum(axis=0) > 200)
    assert 1 <= len(columns) <= 3
    assert 400 < columns.mean() < 560  # in the middle of a chart that is 900 pixels wide
