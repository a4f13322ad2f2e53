"""`import ganport`: its functions and classes, the time of the import, and `python -m ganport`."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from types import ModuleType

import pytest

import ganport
from tests.conftest import ROOT, failure, run_ganport


@pytest.fixture
def run_command(tmp_path):
    return functools.partial(run_ganport, cwd=tmp_path)


def test_every_public_name_exists_and_is_documented():
    for name in ganport.__all__:
        value = getattr(ganport, name)
        assert not isinstance(value, ModuleType), name
        assert name in dir(ganport)
        if name not in ("PRETRAINED", "__version__"):
            assert value.__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ganport' has no attribute 'nosuch'"):
        ganport.nosuch  # noqa: B018


@pytest.mark.parametrize(
    "first", ["import ganport.export.options", "from ganport.export import Options", "ganport.export"]
)
def test_export_is_a_function_after_any_order_of_imports(first):
    check = "from ganport import export; assert export is ganport.export; assert callable(export)"
    code = f"import ganport\n{first}\n{check}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_import_loads_no_heavy_package():
    """`import ganport` must be fast, so its functions import their packages when they are called."""
    code = "import sys; before = set(sys.modules); import ganport; print(*(set(sys.modules) - before))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert not {"numpy", "PIL", "onnxruntime", "tensorflow", "rich", "typer"} & set(result.stdout.split())


def test_module_runs_as_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "ganport", "--version"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout == f"ganport {ganport.__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ganport ex", "export"),
        ("ganport export --prec", "--precision"),
        ("ganport sample --trunc", "--truncation"),
        ("ganport sample --provider open", "openvino"),
        ("ganport sample fash", "fashion-mnist"),
    ],
)
def test_the_shell_completes_commands_options_and_values(words, expected):
    last = str(len(words.split()) - 1)
    environment = {"_GANPORT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": last}
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py")],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == [expected]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ganport.Sampler(3), "`model` is 3"),
        (lambda: ganport.Sampler("mnist").sample("0-3"), "parse_seeds"),
        (lambda: ganport.parse_seeds(5), "is not a text"),
        (lambda: ganport.sample_latents([1], 0), "`dim` is 0"),
        (lambda: ganport.load_images(3), "`source` is 3"),
        (lambda: ganport.load_images("digits", image_size=0), "`image_size` is 0"),
        (lambda: ganport.load_images("digits", channels=2), "`channels` is 2"),
        (lambda: ganport.train("nosuch"), "Recipe 'nosuch' is unknown"),
        (lambda: ganport.train("mnist-dense", resume=True, seed=5), "leave out `seed`"),
        (lambda: ganport.train(settings={"lss": 1}), "Setting 'lss' is unknown"),
        (lambda: ganport.compare(["x"]), "No run in x"),
        (lambda: ganport.export("nosuch.keras"), "nosuch.keras"),
        (lambda: ganport.export(ROOT / "tests"), "No run in"),
        (lambda: ganport.export("x.keras", "y.png"), "`path`"),
        (lambda: ganport.evaluate("nosuch"), "No model file at nosuch"),
    ],
)
def test_a_wrong_argument_is_a_typed_error_that_names_it(call, words):
    with pytest.raises(ganport.GanportError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--steps", "x"], "--steps is x; it must be a whole number of at least 1."),
        (["walk", "mnist", "--rate=100"], "--rate is 100; it must be a number from 0.1 to 50."),
        (["train", "--device", "tpu"], "--device is tpu; it must be one of auto, cpu, gpu."),
        (
            ["sample", "mnist", "-o", "x.tar", "--address", "auto"],
            "--address is for a cluster; add --engine ray.",
        ),
        (["walk", "mnist", "--seeds", "5"], "--seeds has one seed; a walk needs two or more."),
    ],
)
def test_the_command_names_the_option(run_command, arguments, words):
    assert failure(run_command(*arguments), 2).startswith(f"error: {words}")
