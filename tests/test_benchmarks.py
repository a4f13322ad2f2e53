"""The options of the quality benchmark, the script that measures a GPU, and the one that tries generators."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import generators, gpu, keras_environments
from benchmarks.quality import variants
from scripts.bundle_models import train
from tests.conftest import ROOT, failure


@pytest.mark.parametrize(
    ("name", "published", "ours", "images"),
    [
        ("mnist-dense", (10_000, 32), (10_000, 32), 320_000),
        ("mnist-minimal", (20_000, 128), (80_000, 32), 2_560_000),
        ("mnist-dropout", (640, 128), (10_240, 8), 81_920),
        ("fashion-dense", (11_719, 256), (46_876, 64), 3_000_064),
        ("rps-dcgan", (2_000, 32), (4_000, 16), 64_000),  # as published, half of the steps use real images
    ],
)
def test_our_settings_use_as_many_real_images_as_the_published_ones(name, published, ours, images):
    found = variants(name)
    steps = {way: int(found[way][0][found[way][0].index("--steps") + 1]) for way in ("as published", "ours")}
    assert steps["as published"] == (4_000 if name == "rps-dcgan" else published[0])
    assert steps["ours"] == ours[0]
    assert published[0] * published[1] == ours[0] * ours[1] == images
    assert ("ours at length" in found) == (name in ("mnist-dense", "mnist-dropout"))


def test_a_pretrained_generator_is_measured_with_the_options_that_made_it():
    assert variants("fashion-conditional") == {
        "ours": (
            ["--mixed-precision", "on", "--evaluate-interval", "5000"],
            ["--best", "--precision", "float16"],
        )
    }


def test_a_run_of_other_settings_is_not_resumed(tmp_path):
    (tmp_path / "recipe.json").write_text('{"name": "mnist-minimal"}')
    with pytest.raises(SystemExit, match=r"The settings of .* are not those of mnist-minimal"):
        train(tmp_path, "mnist-minimal", "--steps", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def run_gpu_benchmark(*arguments, **environment):
    command = [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments)]
    env = os.environ | environment
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def rows_of(report, *cells):
    """Return the cells of each row of the tables in a report that begins with the given cells."""
    rows = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("|")]
    return [row for row in rows if row[: len(cells)] == list(cells)]


@pytest.mark.slow
def test_gpu_benchmark_without_a_gpu_names_the_option_for_a_trial():
    line = failure(run_gpu_benchmark(CUDA_VISIBLE_DEVICES="-1"))
    assert line.startswith("error: There is no GPU (training: TensorFlow ")
    assert "; sampling: no provider of onnxruntime for a GPU works;" in line
    assert line.endswith("Use --device cpu for a trial without a GPU.")


def test_gpu_benchmark_compares_and_measures_each_working_provider(tmp_path, tiny_file):
    for file in gpu.FILES:
        shutil.copy(tiny_file, file.path(tmp_path))
    options = ["--only", "sampling", "--device", "cpu", "--minutes", 0.01, "--files", tmp_path]
    result = run_gpu_benchmark(*options, CUDA_VISIBLE_DEVICES="-1")
    assert result.returncode == 0, result.stderr
    assert "- provider `tensorrt` is not available: " in result.stdout
    for precision in ("float32", "float16-arithmetic"):
        (speeds,) = rows_of(result.stdout, "`cpu`", precision)
        assert len(speeds) == 2 + 2 * len(gpu.BATCHES)
        assert all(re.fullmatch(r"[\d,]+ \([\d,]+ to [\d,]+\)", speed) for speed in speeds[2:]), speeds
        for generator in ("`mnist-dense`", "`rps-dcgan`"):
            (comparison,) = rows_of(result.stdout, "`cpu`", generator, precision)
            assert comparison[3:] == ["0 levels", "0 %", "0 levels", "yes"]


@pytest.mark.slow
def test_gpu_benchmark_runs_on_the_cpu_and_lists_what_it_had_no_time_for():
    result = run_gpu_benchmark("--device", "cpu", "--minutes", 1)
    assert result.returncode == 0, result.stderr
    (dense,) = rows_of(result.stdout, "`mnist-dense`", "128", "float32")
    assert re.match(r"[\d,]+ \([\d,]+ to [\d,]+\)", dense[3])
    assert "not measured" in rows_of(result.stdout, "`digits`", "64", "bfloat16")[0]
    assert re.search(r"^- `digits`, 64, bfloat16: .*\(no time was left\)$", result.stdout, re.MULTILINE)
    assert len(rows_of(result.stdout, "`cpu`")) == 2 + len(gpu.FILES)


@pytest.mark.parametrize(
    ("precision", "levels", "share", "is_outside"),
    [
        ("float32", 0, 0.0, False),
        ("float32", 1, 0.01, False),
        ("float32", 1, 0.02, True),
        ("float32", 2, 0.0001, True),
        ("float16-arithmetic", 24, 0.01, False),
        ("float16-arithmetic", 25, 0.0001, True),
        ("float16-arithmetic", 1, 0.25, False),
        ("float16-arithmetic", 1, 0.26, True),
    ],
)
def test_images_that_differ_more_than_rounding_explains_are_an_error(precision, levels, share, is_outside):
    expected = np.full((100, 10, 10, 1), 200, np.uint8)
    images = expected.copy()
    images.flat[: round(share * images.size)] -= np.uint8(levels)
    difference = gpu.compare_images(images, expected)
    assert (difference.largest, difference.share) == (levels, share)
    assert gpu.exceeds_bounds(difference, precision) == is_outside
    compared = gpu.Compared("cuda", gpu.ModelFile("rps-dcgan", precision), difference)
    lines = gpu.comparison_failures([gpu.Available("cuda"), compared])
    assert len(lines) == is_outside
    if is_outside:
        subject = f"The images of cuda differ too much from those of the CPU, for rps-dcgan-{precision}: "
        assert lines[0].startswith(subject)
    table = gpu.comparison_table([gpu.Available("cuda"), compared])
    assert rows_of(table, "`cuda`", "`rps-dcgan`", precision)[0][-1] == ("no" if is_outside else "yes")
    assert rows_of(table, "`cuda`", "`mnist-dense`", precision)[0][-1] == "not compared"


def test_images_of_another_shape_are_not_compared():
    with pytest.raises(ValueError, match=r"`images` has shape \(1, 4, 4, 1\); it must be \(1, 4, 4, 3\)"):
        gpu.compare_images(np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 4, 4, 3), np.uint8))


def test_the_loop_that_the_recipe_chooses_is_compared_with_pytorch():
    case = gpu.CASES[0]
    variants = gpu.plan_variants(case, ("PyTorch", "torch.compile"))
    messages = [gpu.Planned(variant.cell) for variant in variants]
    rates = {"XLA": (300.0, 200.0, 100.0), "graph": (50.0, 50.0, 50.0), "PyTorch": (100.0, 100.0, 100.0)}
    for variant in variants:
        if variant.precision == "float32":
            messages += [gpu.Rate(variant.cell, rate) for rate in rates.get(variant.engine, ())]
    (row,) = rows_of(gpu.ratio_table(messages), "`mnist-dense`", "128", "float32")
    assert row[3:] == ["200 (100 to 300)", "2.00 (1.00 to 3.00)", "not measured"]
    assert gpu.list_unmeasured(messages) == [
        "`mnist-dense`, 128, float32: torch.compile (no time was left)",
        "`mnist-dense`, 128, bfloat16: XLA; graph; PyTorch; torch.compile (no time was left)",
    ]


def test_a_process_that_fails_is_reported_and_one_that_takes_too_long_is_ended(tmp_path):
    (failed,) = gpu.collect(gpu.write_references, tmp_path, tmp_path)
    assert isinstance(failed, gpu.Failure)
    assert failed.text.startswith("write_references failed: ")
    assert "mnist-dense-float32.onnx" in failed.text
    assert gpu.collect(gpu.find_providers, "cpu", seconds=0) == []


def try_generators(*arguments):
    command = [sys.executable, "-m", "benchmarks.generators", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_generators_that_work_or_are_rejected_are_listed():
    result = try_generators("--only", "label (n,) of uint8", "--only", "Git LFS pointer")
    assert result.returncode == 0, result.stderr
    assert rows_of(result.stdout, "label (n,) of uint8") == [
        ["label (n,) of uint8", "works: as it is: 0 levels; exported: 0 levels"]
    ]
    ((_, text),) = rows_of(result.stdout, "Git LFS pointer")
    assert text.startswith("rejected: Can't use generator.onnx: it is a pointer of Git LFS")
    assert result.stdout.endswith("\n\n2 kinds: 1 works, 1 rejected\n")


def test_kind_of_generator_that_does_not_exist():
    result = try_generators("--only", "PyTorch 3")
    assert result.returncode == 2
    assert failure_line(result).startswith("error: There is no group or kind 'PyTorch 3'; the groups are ")


def failure_line(result):
    return result.stderr.strip().splitlines()[-1]


def test_kinds_of_generators_have_different_names():
    kinds = generators.collect_kinds()
    assert len(kinds) > 200
    assert all(kind.steps for kind in kinds)


FAILURES = "tests.kinds_of_failure"


def test_each_failure_of_a_generator_is_named_and_loses_no_other_kind():
    """The kind `crash` ends the process, and the kinds after it are measured by another process."""
    kinds = [kind for kind in generators.collect_kinds([FAILURES]) if kind.name != "hang"]
    results = list(generators.measure_all(kinds, [FAILURES]))
    assert {result.name: result.verdict for result in results} == {
        "right": "works",
        "wrong": "WRONG",
        "of another shape": "WRONG",
        "with an error": "TRACEBACK",
        "crash": "CRASH",
        "pointer": "REJECTED",
        "pointer, rejected": "rejected",
        "pointer, with another message": "UNCLEAR",
        "right, not rejected": "NOT REJECTED",
        "without torch": "not measured",
        "on another machine": "not measured",
        "faulty": "NOT BUILT",
    }
    texts = {result.name: result.text for result in results}
    assert texts["right"] == "as it is: 0 levels; exported: 0 levels"
    assert re.fullmatch(r"as it is: \d+ levels, \d+.\d\d% of the values differ from .*", texts["wrong"])
    assert texts["crash"] == "the process ended with exit code 3"
    assert texts["with an error"].startswith("as it is: ValueError: matmul: ")
    assert texts["without torch"] == "torch is not installed"
    assert texts["on another machine"] == "it needs another machine"
    assert [result.name for result in results if result.is_expected] == [
        "right",
        "pointer, rejected",
        "without torch",
        "on another machine",
    ]


def test_generator_that_hangs_is_ended():
    kinds = [kind for kind in generators.collect_kinds([FAILURES]) if kind.name == "hang"]
    (result,) = generators.measure_all(kinds, [FAILURES], seconds=2)
    assert (result.verdict, result.text) == ("HANG", "no result after 2 s")


def test_results_of_generators_as_json_and_as_a_table():
    results = [generators.Result("A|B", "a | b", "WRONG", "1 level\nmore than <5>", 0.5)]
    assert json.loads(generators.to_json(results))["kinds"][0]["verdict"] == "WRONG"
    assert "| a \\| b | WRONG: 1 level more than &lt;5> |" in generators.show_tables(results)


def test_tables_of_a_page_are_replaced():
    page = f"# Title\n\n{generators.BEGIN}\n\nold\n\n{generators.END}\n"
    for tables in ("new", "newer"):
        page = generators.replace_tables(page, tables)
        assert page == f"# Title\n\n{generators.BEGIN}\n\n{tables}\n\n{generators.END}\n"


def test_page_without_a_place_for_tables_is_an_error_before_anything_is_measured(tmp_path):
    (tmp_path / "page.md").write_text("# Title\n")
    for page in ("page.md", "none.md"):
        result = try_generators("--write", str(tmp_path / page))
        assert result.returncode == 2
        assert failure_line(result).startswith("error: ")


def test_preparation_of_several_kinds_happens_once():
    calls = []

    def prepare():
        calls.append("made")

    generators.prepare_all(
        [generators.Kind("Group", str(index), print, prepare=prepare) for index in range(3)]
    )
    assert calls == ["made"]


@pytest.mark.slow
def test_keras_generators_that_work_or_are_rejected_are_listed():
    names = ("Keras 3: one-hot code behind the latents", "Keras 3: rows of 32x32x3, without options")
    result = try_generators("--only", names[0], "--only", names[1])
    assert result.returncode == 0, result.stderr
    assert rows_of(result.stdout, names[0]) == [[names[0], "works: exported: 0 levels"]]
    ((_, text),) = rows_of(result.stdout, names[1])
    assert text.startswith("rejected: Can't export generator.keras: its images are rows of 3072 values; give")


def test_environment_of_tensorflow_2_15_that_was_not_made_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        generators.NotMeasuredError, match=r"TensorFlow 2\.15 (is not installed|needs Python)"
    ):
        keras_environments.find_python()
