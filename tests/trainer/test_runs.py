"""The list of runs: their progress, time and measures, read from the files of the runs."""

import dataclasses

import pytest

from ganport.trainer.findings import Finding
from ganport.trainer.history import History, Measured
from ganport.trainer.history_file import parse_history
from ganport.trainer.runs import list_runs
from tests.trainer.conftest import log, write_run


def test_step_is_that_of_the_history_although_no_checkpoint_was_saved(tmp_path, small_recipe, small_data):
    write_run(tmp_path / "a", small_recipe, small_data, [log(10, 5.0), log(20, 12.5, g_loss=2.0)])
    (run,) = list_runs(tmp_path)
    assert (run.step, run.saved_step, run.steps, run.seconds) == (20, 0, 25, 12.5)
    assert run.metrics == {"d_loss": 1.0, "g_loss": 2.0}
    assert run.measure is run.best is None


def test_summary_has_the_settings_of_the_run(tmp_path, small_recipe, small_data):
    recipe = dataclasses.replace(small_recipe, dataset="squares", loss="hinge", seed=7, title="My squares")
    write_run(tmp_path / "a", recipe, small_data, [])
    (run,) = list_runs(tmp_path)
    assert (run.recipe, run.data, run.loss, run.seed) == ("mnist-minimal", "squares", "hinge", 7)
    assert (run.title, run.step, run.seconds) == ("My squares", 0, None)


def test_summary_has_the_findings(tmp_path, small_recipe, small_data):
    finding = Finding("collapse", 10, "the images are too much alike", "change a setting")
    write_run(tmp_path / "a", small_recipe, small_data, [log(10, 1), finding.to_line(), log(20, 2)])
    (run,) = list_runs(tmp_path)
    assert run.findings == [finding]
    assert run.step == 20


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ('{"source": "/models/cats", "step": 4000}', "cats, step 4,000"),
        ('{"source": "faces", "step": 9}', "faces, step 9"),
        ('{"step": "x"}', "damaged"),
        ("", "damaged"),
    ],
)
def test_summary_has_the_start_of_the_run(tmp_path, small_recipe, small_data, record, shown):
    run = write_run(tmp_path / "a", small_recipe, small_data, [])
    assert list_runs(tmp_path)[0].start == ""
    run.start_file.write_text(record)
    assert list_runs(tmp_path)[0].start == shown


def test_measure_is_the_frechet_distance_if_it_was_measured(tmp_path, small_recipe, small_data):
    lines = [log(10, 1), {"step": 10, "distance": 0.1}, log(20, 2), {"step": 20, "distance": 0.2}]
    write_run(tmp_path / "a", small_recipe, small_data, lines)
    (run,) = list_runs(tmp_path)
    assert (run.measure, run.best) == (Measured("distance", 0.2, 20), Measured("distance", 0.1, 10))
    for line, frechet in zip(lines[1::2], (5.0, 3.0), strict=True):
        line["frechet"] = frechet
    write_run(tmp_path / "b", small_recipe, small_data, [*lines, log(25, 3), {"step": 25, "distance": 0.05}])
    run = next(run for run in list_runs(tmp_path) if run.path.name == "b")
    assert run.measure == run.best == Measured("frechet", 3.0, 20)
    assert run.metrics["distance"] == 0.05


def test_step_of_a_checkpoint_counts_if_the_history_is_lost(tmp_path, small_recipe, small_data):
    run = write_run(tmp_path / "a", small_recipe, small_data, [])
    run.checkpoint_file(20).parent.mkdir()
    run.checkpoint_file(20).touch()
    assert list_runs(tmp_path)[0].step == 20


@pytest.mark.parametrize("content", ["", "[]", '{"name": "x"}'])
def test_damaged_run_is_left_out(tmp_path, small_recipe, small_data, content):
    write_run(tmp_path / "a", small_recipe, small_data, [])
    run = write_run(tmp_path / "b", small_recipe, small_data, [])
    run.recipe_file.write_text(content)
    assert [run.path.name for run in list_runs(tmp_path)] == ["a"]


DAMAGED_LINES = [
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{}",
    b'{"step": "x"}',
    b'{"step": -1}',
    b'{"step": true}',
    b'{"step": 3, "distance": "near"}',
    b'{"step": 3, "frechet": null}',
    b'{"step": 3, "steps": 2.5}',
    b'{"step": 3, "finding": "collapse"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("damaged", DAMAGED_LINES, ids=[str(line[:24]) for line in DAMAGED_LINES])
def test_damaged_line_of_a_history_hides_no_run_and_no_other_line(
    tmp_path, small_recipe, small_data, damaged
):
    run = write_run(tmp_path / "a", small_recipe, small_data, [log(10, 5.0), log(20, 9.0)])
    first, second = run.history_file.read_bytes().splitlines()
    content = b"\n".join([first, damaged, second, b""])
    run.history_file.write_bytes(content)
    (summary,) = list_runs(tmp_path)
    assert (summary.step, summary.seconds) == (20, 9.0)
    lines, count = parse_history(content)
    assert (len(lines), count) == (2, 1)
    lines, count = parse_history(content + second[:9])  # as a process leaves it that is killed
    assert (len(lines), count) == (2, 1)


@pytest.mark.parametrize("record", ["recipe.json", "data.json", "start.json"])
def test_record_that_is_nested_without_end_hides_no_other_run(tmp_path, small_recipe, small_data, record):
    write_run(tmp_path / "a", small_recipe, small_data, [])
    run = write_run(tmp_path / "b", small_recipe, small_data, [])
    (run.path / record).write_text("[" * 100_000)
    assert "a" in [run.path.name for run in list_runs(tmp_path)]


def test_points_of_a_history_join_the_lines_of_a_step():
    history = History([log(10, 5.0), {"step": 10, "distance": 0.5}, {"step": 12, "distance": 0.4}])
    assert history.points() == [
        {"step": 10, "images_seen": 80, "d_loss": 1.0, "seconds": 5.0, "distance": 0.5},
        {"step": 12, "images_seen": 80, "seconds": 5.0, "distance": 0.4},
    ]


def test_history_without_lines_has_no_values():
    history = History([])
    assert (history.step, history.seconds, history.deciding_measure) == (0, None, None)
    assert history.measures == history.schedules == history.points() == []
    assert history.best("distance") is None
