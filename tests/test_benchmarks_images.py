"""The script that compares `ganport train FOLDER` with other recipes and peers."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import images, images_candidates, images_data, images_results, images_sizes
from benchmarks.generators import replace_tables
from benchmarks.images_candidates import Budget, Candidate, Trained
from benchmarks.images_data import BenchmarkError
from benchmarks.machine import describe_machine
from ganport.trainer.recipes import load_recipe, rps_conditional
from tests.conftest import ROOT

MINUTES = Budget(2, "wall")


@pytest.fixture
def photos(tmp_path):
    """A folder of 120 images of 16x16."""
    images_data.write_folder(images_data.make_blobs(120, 16), tmp_path / "photos")
    return tmp_path / "photos"


def split(photos, out, *, training=40):
    return images_data.split_images(photos, out, image_size=16, training=training, held_out=40)


def noise(name, trainings, packages=()):
    """Return a candidate that generates random pixels, and that notes its trainings in a list."""

    def train(job):
        trainings.append((name, job.seed))
        pixels = np.random.default_rng(job.seed).integers(0, 256, (job.count, 16, 16, 3), np.uint8)
        return Trained(pixels, {"steps": 10, "images_seen": 80, "seconds": 1.0, "cpu_seconds": 2.0})

    return Candidate(name, f"noise of {name}", train, dict(packages))


def as_set(pixels):
    return {image.tobytes() for image in pixels}


def test_training_images_and_held_out_images_are_different_and_the_same_each_time(photos, tmp_path):
    first = split(photos, tmp_path / "a")
    parts = [as_set(each) for each in (first.training, first.held_out, first.others)]
    assert [len(each) for each in parts] == [40, 40, 40]
    assert len(set.union(*parts)) == 120
    again = split(photos, tmp_path / "b")
    assert np.array_equal(first.held_out, again.held_out)
    written = images_data.read_training(first.array_file)
    assert np.array_equal(written, first.training)
    assert len(list(first.folder.glob("*.png"))) == 40
    assert not first.is_labelled


def test_labels_become_sub_folders_of_the_training_images(tmp_path):
    names = ["cat", "dog"] * 50
    images_data.write_folder(images_data.make_blobs(100, 16), tmp_path / "pets", names)
    found = split(tmp_path / "pets", tmp_path / "out")
    assert found.is_labelled
    assert sorted(path.name for path in found.folder.iterdir()) == ["cat", "dog"]
    assert len(list(found.folder.rglob("*.png"))) == 40


def test_results_of_other_images_are_not_continued(photos, tmp_path):
    split(photos, tmp_path / "out")
    with pytest.raises(BenchmarkError, match="holds the results of other images; give another folder"):
        split(photos, tmp_path / "out", training=30)


def test_too_few_images_for_a_comparison(photos, tmp_path):
    with pytest.raises(BenchmarkError, match=r"has 120 images; the comparison needs 160 or more"):
        split(photos, tmp_path / "out", training=120)


def test_stopped_benchmark_continues_with_what_is_missing(photos, tmp_path, capsys):
    trainings = []
    candidates = noise("ours", trainings), noise("other", trainings, {"no_such_module": "no-such-package"})
    comparison = images.Comparison("tiny", 16, (candidates[0],), 2)
    data = split(photos, tmp_path)
    images.compare(comparison, data, tmp_path, seeds=[0], budget=MINUTES)
    results = tmp_path / "results.jsonl"
    results.write_text(f'{results.read_text()}{{"candidate": "ours", "seed": 1')  # killed while it wrote
    comparison = dataclasses.replace(comparison, candidates=(candidates[0], noise("peer", trainings)))
    for _ in range(2):
        images.compare(comparison, data, tmp_path, seeds=[0, 1], budget=MINUTES)
    assert trainings == [("ours", 0), ("peer", 0), ("ours", 1), ("peer", 1)]
    assert (tmp_path / "peer-1-2-minutes.png").exists()
    table = images.show_results(comparison, images_results.ResultFile(results).read())
    assert f"| noise of peer | 2 minutes, {describe_machine()} | 2 |" in table
    assert "| real images |" in table
    assert "| nearest in training |" in table
    images.compare(
        dataclasses.replace(comparison, candidates=candidates), data, tmp_path, seeds=[5], budget=MINUTES
    )
    assert "other is left out: pip install no-such-package\n" in capsys.readouterr().err


def test_baseline_is_near_and_copies_of_training_images_are_found(photos, tmp_path):
    data = split(photos, tmp_path)
    measure = images_results.Measure(data)
    copies, new = measure.figures(data.training), measure.baseline()
    assert copies["copies"] == 1
    assert 0.2 < new["copies"] < 0.8
    grey = measure.figures(np.full_like(data.held_out, 128))
    assert new["frechet"] < 0.3 * grey["frechet"]


def test_without_further_images_the_baseline_does_not_count_copies(photos, tmp_path):
    measure = images_results.Measure(split(photos, tmp_path, training=None))
    assert "copies" not in measure.baseline()


def result(candidate, seed, frechet, recall):
    figures = dict.fromkeys(images_results.METRICS, 0.5) | {"frechet": frechet, "recall": recall}
    facts = {"candidate": candidate, "seed": seed, "budget": "2 minutes", "steps": 1000, "cpu_minutes": 2.0}
    return facts | {"machine": "a CPU, 2 cores", "figures": figures}


def test_table_has_the_median_and_the_range_over_the_seeds():
    results = [result("ours", seed, 10.0 * (seed + 1), 0.6) for seed in range(3)]
    results += [result("peer", 0, 80.0, 0.2), result("other", 0, 50.0, 0.7)]
    table = images_results.result_table(results, {"peer": "a peer", "ours": "our recipe"})
    assert "nearest in training" not in table
    rows = table.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| a peer", "| our recipe"]
    assert (
        "| 2 minutes, a CPU, 2 cores | 3 | 1,000 (1,000 to 1,000) | 2.0 (2.0 to 2.0) | 20 (10 to 30) |"
        in rows[1]
    )
    assert images_results.conclude(results) == (
        "the Fréchet distance of ours is 0.40 times that of the best other candidate (other). "
        "The recall of ours is 0.600; the highest of the others is 0.700 (other)."
    )
    assert images_results.conclude(results[:3]) == ""


def test_results_of_another_machine_are_another_row_and_are_not_concluded_from():
    elsewhere = result("peer", 0, 80.0, 0.2) | {"machine": "another CPU, 8 cores"}
    results = [result("ours", 0, 20.0, 0.6), elsewhere]
    table = images_results.result_table(results, {"peer": "a peer", "ours": "our recipe"})
    assert "| our recipe | 2 minutes, a CPU, 2 cores |" in table
    assert "| a peer | 2 minutes, another CPU, 8 cores |" in table
    comparison = dataclasses.replace(images.COMPARISONS["few"], candidates=())
    assert "the best other candidate" not in images.show_results(comparison, results)


def test_machine_is_its_model_its_widest_instructions_and_its_cores():
    known = "model name : A CPU\nflags : sse avx2 avx512f\n\nmodel name : of another core\n"
    assert describe_machine(known).startswith("A CPU with AVX-512, ")
    assert describe_machine("").endswith(" cores")


def test_page_has_a_place_for_each_table(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "images.md").read_text())
    for name in (*images.COMPARISONS, images.SIZES):
        assert replace_tables(page.read_text(), "figures", images.marker(name)).count("\n\nfigures\n\n") == 1
        assert images.main([name, "--out", str(tmp_path), "--tables", "--write", str(page)]) == 0
    assert page.read_text().count(images_results.NOT_MEASURED) == len(images.COMPARISONS) + 1
    page.write_text("# Title\n")
    assert images.main(["few", "--out", str(tmp_path), "--tables", "--write", str(page)]) == 2
    assert "error: The page has no line '<!-- made by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["faces64", "--only", "stylegan"], "faces64 has no candidate stylegan; it has ours, rps-dcgan"),
        (["faces64"], "--data is missing; give a folder of images"),
        (["faces64", "--minutes", "1", "--cpu-minutes", "1"], "not allowed with argument"),
    ],
)
def test_options_that_are_missing_or_wrong(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        images.main([*arguments, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_networks_of_rps_conditional_without_labels_are_a_recipe():
    recipe = load_recipe(ROOT / "benchmarks" / "images_rps_recipe.py")
    assert recipe.labels == ()
    assert recipe.build_generator is rps_conditional.build_generator


def test_table_of_sizes():
    found = {"side": 64, "training": 120.4, "memory": 1.25e9, "generator": 1.17e6, "discriminator": 3e5}
    found |= {"bytes": 4.7e6, "batch 1": 900.0, "batch 64": 1200.0, "chromium": None}
    row = images_sizes.size_table([found]).splitlines()[-1]
    assert row == "| 64x64 | 120 | 1.2 GB | 1.17 M, 0.30 M | 4.70 MB | 900 | 1,200 | not measured |"


@pytest.mark.slow
def test_own_images_are_trained_exported_and_measured_with_a_budget_of_cpu_time(photos, tmp_path):
    comparison = images.Comparison("tiny", 16, (images_candidates.OURS,), 1)
    data = split(photos, tmp_path, training=80)
    images.compare(comparison, data, tmp_path, seeds=[3], budget=Budget(0.4, "cpu"))
    baseline, ours = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert ours["images_seen"] == 32 * ours["steps"] >= 32 * 200
    assert baseline["figures"]["frechet"] < ours["figures"]["frechet"]
    settings = json.loads((tmp_path / "ours-3-0.4-CPU-minutes" / "run" / "recipe.json").read_text())
    assert (settings["name"], settings["seed"]) == ("images", 3)
