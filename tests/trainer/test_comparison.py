"""`ganport.compare`: settings that differ, measures, the chart, the CSV file, and runs that are rejected."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

import ganport
from ganport.runtime.errors import OutputError, UsageError
from ganport.trainer.errors import CheckpointError, RunNotFoundError
from ganport.trainer.settings import change_recipe
from tests.trainer.conftest import log, write_run


def lines_of(*values, seconds=10):
    """Return a history with a pixel distance at every tenth step."""
    lines = []
    for index, value in enumerate(values, start=1):
        losses = {"g_loss": 2.0 / index, "d_accuracy": 0.5}
        lines += [log(10 * index, seconds * index, **losses), {"step": 10 * index, "distance": value}]
    return lines


@pytest.fixture
def folders(tmp_path, small_recipe, small_data):
    """Three runs: the second has another loss and rate, and the third has other images."""
    other = dataclasses.replace(small_data, images=small_data.images[::-1])
    hinge = change_recipe(small_recipe, {"loss": "hinge", "generator_optimizer.learning_rate": 0.5})
    write_run(tmp_path / "runs/a", small_recipe, small_data, lines_of(0.5, 0.3, 0.4))
    write_run(tmp_path / "runs/b", hinge, small_data, lines_of(0.6, 0.2))
    write_run(tmp_path / "runs/c", small_recipe, other, lines_of(0.1))
    return [tmp_path / "runs" / name for name in "abc"]


def test_comparison_has_the_settings_that_differ_and_no_others(folders, small_recipe):
    rate = small_recipe.generator_optimizer.learning_rate
    comparison = ganport.compare(folders)
    assert comparison.differences == {
        "loss": ["non-saturating", "hinge", "non-saturating"],
        "generator_optimizer.learning_rate": [rate, 0.5, rate],
    }
    assert comparison.measures == ["distance"]
    assert [run.name for run in comparison.runs] == ["a", "b", "c"]


def test_start_is_a_setting(folders):
    (folders[1] / "start.json").write_text('{"source": "/models/cats", "step": 4000}')
    start = ganport.compare(folders).differences["start"]
    assert start == ["random weights", "cats, step 4,000", *["random weights"] * (len(folders) - 2)]


def test_measures_are_those_at_the_end_and_the_best(folders):
    first, second, _ = ganport.compare(folders).runs
    assert (first.at_end("distance"), first.at_best("distance").value) == (0.4, 0.3)
    assert first.at_best("distance").step == second.at_best("distance").step == 20
    assert first.at_end("frechet") is first.at_best("frechet") is None


def test_runs_on_other_images_are_not_comparable(folders):
    assert [run.is_comparable for run in ganport.compare(folders).runs] == [True, True, False]
    assert [run.is_comparable for run in ganport.compare(folders[::-1]).runs] == [True, False, False]


def test_runs_under_runs_are_compared_by_default(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {run.name for run in ganport.compare().runs} == {"a", "b", "c"}


def test_names_are_as_short_as_possible(tmp_path, small_recipe, small_data):
    paths = [tmp_path / name / "run" for name in ("first", "second")]
    for path in paths:
        write_run(path, small_recipe, small_data, [])
    comparison = ganport.compare([ganport.Run(paths[0]), str(paths[1])])
    assert [run.name for run in comparison.runs] == ["first/run", "second/run"]


def test_table_as_csv_has_all_settings_and_measures(folders, tmp_path):
    ganport.compare(folders).write_csv(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["settings.loss"] for row in rows] == ["non-saturating", "hinge", "non-saturating"]
    assert [row["comparable"] for row in rows] == ["true", "true", "false"]
    assert [row["measures.distance.end"] for row in rows] == ["0.4", "0.2", "0.1"]
    assert [row["measures.distance.best_step"] for row in rows] == ["20", "20", "10"]
    assert [row["seconds"] for row in rows] == ["30.0", "20.0", "10.0"]
    assert rows[0]["settings.generator_optimizer.name"] == "adam"
    assert (rows[0]["data.images"], rows[0]["settings.image_shape"]) == ("50", "28,28,1")


def test_comparison_survives_conversion_to_json(folders):
    document = json.loads(json.dumps(ganport.compare(folders).to_dict()))
    assert set(document["differences"]) == {"loss", "generator_optimizer.learning_rate"}
    assert document["runs"][1]["measures"] == {"distance": {"end": 0.2, "best": 0.2, "best_step": 20}}


def colours(path):
    """Return the numbers of pixels of a chart by the colours of matplotlib's palette: blue, orange, green."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    palette = [(31, 119, 180), (255, 127, 14), (44, 160, 44)]
    return [int((pixels == colour).all(axis=1).sum()) for colour in palette]


@pytest.mark.parametrize("by", ["images", "time", "steps"])
def test_chart_has_a_colour_for_each_run(folders, tmp_path, by):
    ganport.compare(folders[:2]).draw(tmp_path / "two.png", by=by)
    blue, orange, green = colours(tmp_path / "two.png")
    assert min(blue, orange) > 500
    assert green == 0
    ganport.compare(folders).draw(tmp_path / "three.png", by=by)
    assert colours(tmp_path / "three.png")[2] > 50


def test_chart_of_runs_that_have_just_started_is_empty(tmp_path, small_recipe, small_data):
    for name in "ab":
        write_run(tmp_path / name, small_recipe, small_data, [])
    ganport.compare([tmp_path / "a", tmp_path / "b"]).draw(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.width == 1210


@pytest.mark.parametrize(
    ("chosen", "error", "words"),
    [
        (["a"], UsageError, "a; give 2 to 20 run folders"),
        ([], UsageError, "`runs` is empty; give 2 to 20 run folders"),
        (["a", "a"], UsageError, "a twice; give each run once"),
        (["a", "../runs/a"], UsageError, "twice; give each run once"),
        (["a", "nowhere"], RunNotFoundError, "No run in nowhere"),
        (["a"] * 21, UsageError, "twice"),
        ("a", UsageError, "`runs` is 'a'; it must be a list of two or more run folders"),
    ],
)
def test_wrong_runs_are_rejected(folders, monkeypatch, chosen, error, words):
    monkeypatch.chdir(folders[0].parent)
    with pytest.raises(error, match=re.escape(words)):
        ganport.compare(chosen)


def test_too_many_runs_are_rejected(tmp_path, small_recipe, small_data):
    for index in range(21):
        write_run(tmp_path / str(index), small_recipe, small_data, [])
    with pytest.raises(UsageError, match="`runs` is 21 runs; give 2 to 20"):
        ganport.compare(sorted(tmp_path.iterdir()))


def test_name_that_is_not_valid_text_is_escaped_in_the_table(folders, tmp_path):
    record = json.loads((folders[0] / "data.json").read_text())
    (folders[0] / "data.json").write_text(json.dumps(record | {"name": "\ud800"}))
    ganport.compare(folders).write_csv(tmp_path / "out.csv")
    assert "\\ud800" in (tmp_path / "out.csv").read_text("utf-8")


def test_damaged_record_of_the_images_is_rejected(folders):
    (folders[1] / "data.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"data\.json is damaged"):
        ganport.compare(folders)


@pytest.mark.parametrize(
    ("path", "options", "error", "words"),
    [
        ("x.jpg", {}, UsageError, "it must end in .png"),
        ("x.png", {"by": "epochs"}, UsageError, "`by` is 'epochs'; it must be one of images, time, steps"),
        ("runs/a/recipe.json/x.png", {}, OutputError, "x.png"),
    ],
)
def test_wrong_chart_is_rejected(folders, tmp_path, monkeypatch, path, options, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(words)):
        ganport.compare(folders).draw(path, **options)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["runs"]
