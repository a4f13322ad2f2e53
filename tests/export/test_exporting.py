"""`ganport.export`: kinds of sources, default paths and wrong arguments; and the command that calls it."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

import ganport
from ganport.export import export_file
from ganport.export.exporting import export
from ganport.export.packages import newest_opset
from ganport.runtime import Contract, Sampler
from ganport.runtime.errors import GanportError, MissingPackageError, OutputError, SeedError, UsageError
from ganport.trainer.errors import RunNotFoundError
from ganport.trainer.run import Run
from tests.conftest import ROOT, failure, run_ganport
from tests.export.conftest import shake


@pytest.fixture(scope="module")
def model() -> keras.Model:
    layers = [keras.layers.Dense(12, activation="tanh"), keras.layers.Reshape((3, 4, 1))]
    return shake(keras.Sequential([keras.Input((5,)), *layers], name="small"))


@pytest.fixture
def keras_file(model, tmp_path) -> Path:
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def test_ganport_export_is_the_function_of_this_package():
    assert ganport.export is export


def test_keras_model_in_memory_is_exported(model, tmp_path):
    contract = export(model, tmp_path / "x.onnx")
    assert isinstance(contract, Contract)
    assert (contract.name, contract.input.dim, contract.image.shape) == ("small", 5, (3, 4, 1))
    sampler = Sampler(tmp_path / "x.onnx")
    assert sampler.contract == contract
    assert sampler.sample([1, 2]).std() > 20


def test_file_is_exported_beside_itself_by_default(keras_file):
    contract = export(str(keras_file))
    assert contract.name == "mine"
    assert Sampler(keras_file.with_suffix(".onnx")).contract == contract
    export(keras_file, file_format="ort")
    assert Sampler(keras_file.with_suffix(".ort")).contract.name == "mine"
    export(keras_file, file_format="triton")
    assert Sampler(keras_file.parent / "triton" / "mine" / "1" / "model.onnx").contract.name == "mine"


def test_title_is_the_name_of_a_third_party_model_in_its_contract_and_card(keras_file, tmp_path):
    contract = export(keras_file, tmp_path / "x.onnx", title="My faces", card=True)
    assert contract.name == Sampler(tmp_path / "x.onnx").contract.name == "My faces"
    assert (tmp_path / "README.md").read_text().startswith("# My faces\n")


def test_saved_model_is_exported_beside_its_folder(model, tmp_path, monkeypatch):
    model.export(tmp_path / "saved", verbose=False)
    monkeypatch.chdir(tmp_path / "saved")
    export(".", value_range="tanh")
    assert Sampler(tmp_path / "saved.onnx").contract.name == "saved"


@pytest.mark.parametrize(
    "seeds", ["3,5-7", [3, 5, 6, 7], np.array([3, 5, 6, 7]), (seed for seed in (3, 5, 6, 7))]
)
def test_seeds_are_a_text_or_numbers(model, tmp_path, seeds):
    contract = export(model, tmp_path / "x.onnx", input_kind="fixed", seeds=seeds)
    assert contract.input.seeds == (3, 5, 6, 7)


def test_every_option_reaches_the_file(model, tmp_path):
    contract = export(
        model,
        tmp_path / "x.onnx",
        input_kind="seed",
        output="float",
        layout="NCHW",
        precision="float16",
        batch=4,
        opset=19,
    )
    assert (contract.input.kind, contract.image.dtype, contract.image.layout) == ("seed", "float32", "NCHW")
    assert (contract.precision, contract.batch) == ("float16", 4)
    assert [entry.version for entry in onnx.load(tmp_path / "x.onnx").opset_import if entry.domain == ""] == [
        19
    ]


def test_export_file_returns_what_the_command_prints(model, tmp_path):
    exported = export_file(model, tmp_path / "x.onnx", precision="int8", card=True)
    assert exported.path == tmp_path / "x.onnx"
    assert exported.size == exported.path.stat().st_size
    assert exported.card == (tmp_path / "README.md", tmp_path / "preview.png")
    assert [name for name, _ in exported.measure_costs()] == ["float32", "int8"]
    assert exported.measure_rewrites()[0][0] == "as tf2onnx converts it"


def test_an_opset_that_onnxruntime_does_not_run_is_named(model, tmp_path):
    newest, _ = newest_opset()
    ganport.export(model, tmp_path / "newest.onnx", opset=newest)
    (standard,) = [each for each in onnx.load(tmp_path / "newest.onnx").opset_import if not each.domain]
    assert standard.version == newest
    with pytest.raises(UsageError, match=rf"to {newest}, the newest that onnx .* and onnxruntime .* support"):
        ganport.export(model, tmp_path / "newer.onnx", opset=newest + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_kind": "latents"}, "`input_kind` is 'latents'; it must be latent, seed or fixed."),
        ({"output": "jpeg"}, "`output` is 'jpeg'; it must be uint8 or float."),
        ({"layout": "nchw"}, "`layout` is 'nchw'; it must be NHWC or NCHW."),
        (
            {"precision": "int4"},
            "`precision` is 'int4'; it must be float32, float16, float16-arithmetic or int8.",
        ),
        (
            {"title": "two\nlines"},
            "`title` is 'two\\nlines'; it must be one line of text of at most 100 char",
        ),
        ({"title": "x" * 101}, "it must be one line of text of at most 100 characters"),
        ({"file_format": "tflite"}, "`file_format` is 'tflite'; it must be onnx, ort, triton or c."),
        ({"value_range": "relu"}, "`value_range` is 'relu'; it must be tanh for -1 to 1"),
        ({"input_kind": "fixed"}, "`input_kind='fixed'` needs `seeds`"),
        ({"seeds": "1"}, "`seeds` are for `input_kind='fixed'`"),
        ({"input_kind": "fixed", "seeds": (1, 2, 1)}, "Seed 1 is repeated in `seeds`"),
        ({"input_kind": "fixed", "seeds": "1-2", "batch": 2}, "leave `batch` out"),
        ({"batch": 0}, "`batch` is 0; it must be a whole number from 1 to 65,536."),
        ({"batch": 2.5}, "`batch` is 2.5;"),
        (
            {"opset": 12},
            "`opset` is 12; it must be a whole number from 13, the oldest that is supported, to ",
        ),
        ({"opset": 999}, "`opset` is 999; it must be a whole number from 13"),
        ({"opset": 17, "input_kind": "seed"}, "`opset` is 17; `input_kind='seed'` needs 18 or newer"),
        ({"allow_loss": True}, "`allow_loss=True` is for a `precision` of float16 or int8"),
        (
            {"file_format": "triton", "input_kind": "fixed", "seeds": "1"},
            "`file_format='triton'` does not take a model without",
        ),
        ({"best": True}, "`best=True` chooses a checkpoint of a run"),
        ({"path": "x.png"}, "`path` is x.png; with `file_format='onnx'` it must end in .onnx."),
        ({"path": None}, "`path` is missing"),
        ({"source": 5}, "`source` is of type int; it must be a run, a path, or a Keras model."),
    ],
)
def test_wrong_argument_is_named(model, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        export(**{"source": model, "path": "x.onnx"} | arguments)
    assert isinstance(caught.value, ValueError)
    assert "--" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seeds", ["nine", "9-1", [-1], [0.5], 7, range(20_000), "0-20000"])
def test_wrong_seed_is_named(model, tmp_path, seeds):
    with pytest.raises(SeedError):
        export(model, tmp_path / "x.onnx", input_kind="fixed", seeds=seeds)


def test_value_range_of_a_run_can_not_be_changed(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    for source in (tmp_path, Run(tmp_path)):
        with pytest.raises(UsageError, match="is a run, which states what `value_range` says"):
            export(source, value_range="tanh")


def test_there_is_no_newest_run_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunNotFoundError, match="No run in runs; create one with: ganport train"):
        export()


@pytest.mark.parametrize("name", ["x.onnx", "README.md", "preview.png"])
def test_existing_file_is_not_replaced(model, tmp_path, name):
    (tmp_path / name).write_bytes(b"existing")
    with pytest.raises(OutputError, match=rf"{name}: it exists; replace it with `overwrite=True`"):
        export(model, tmp_path / "x.onnx", card=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    export(model, tmp_path / "x.onnx", card=True, overwrite=True)
    assert (tmp_path / name).read_bytes() != b"existing"


def test_path_that_cant_be_written_is_named_as_the_argument(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="choose another `path`"):
        export(model, tmp_path / "file" / "x.onnx")
    (tmp_path / "x.onnx").mkdir()
    with pytest.raises(OutputError, match="it is a folder; choose another `path`"):
        export(model, tmp_path / "x.onnx", overwrite=True)


@pytest.mark.parametrize("package", ["tf2onnx", "onnx", "onnxruntime"])
def test_missing_package_has_an_install_line(keras_file, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingPackageError, match=rf"export needs {package}, .* pip install 'ganport\[export\]'"
    ):
        export(keras_file)


def test_keras_on_another_backend_is_rejected(keras_file):
    code = "import sys, ganport\n"
    code += "try: ganport.export(sys.argv[1])\nexcept ganport.GanportError as error: print(error)"
    command = [sys.executable, "-c", code, str(keras_file)]
    environment = {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "numpy"}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert "Can't export with the numpy backend of Keras; the export needs the TensorFlow" in result.stdout


def test_importing_the_package_loads_no_heavy_package():
    code = "import ganport.export, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert not {"tensorflow", "keras", "onnx", "tf2onnx", "onnxruntime"} & set(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--opset", "12"], 2, "--opset is 12; it must be a whole number from 13"),
        (["--input", "fixed"], 2, "--input fixed needs --seeds"),
        (["--seeds", "0-3"], 2, "--seeds are for --input fixed; add it, or leave --seeds out."),
        (["--batch", "0"], 2, "--batch is 0;"),
        (["--allow-loss"], 2, "--allow-loss is for a --precision of float16 or int8"),
        (
            ["--best"],
            2,
            "--best chooses a checkpoint of a run, and mine.keras is not a run; leave --best out.",
        ),
        (["-o", "x.png"], 2, "--out is x.png; with --format onnx it must end in .onnx."),
        (
            ["--format", "triton", "--input", "fixed", "--seeds", "1"],
            2,
            "--format triton does not take a model without",
        ),
        (["--out", "old.onnx"], 1, "it exists; replace it with --overwrite, or choose another --out."),
    ],
)
def test_command_shows_options_where_the_library_shows_arguments(keras_file, arguments, status, message):
    (keras_file.parent / "old.onnx").touch()
    line = failure(run_ganport("export", keras_file.name, *arguments, cwd=keras_file.parent), status)
    assert message in line
    assert "`" not in line


def test_command_exports_a_file_and_prints_its_costs(keras_file):
    result = run_ganport(
        "export", keras_file.name, "--precision", "float16", "--explain", cwd=keras_file.parent
    )
    assert result.returncode == 0, result.stderr
    assert re.search(
        r"^mine\.onnx: 0\.00 MB, 3x4x1 uint8, float16; verified against Keras with 256 seeds in batches",
        result.stdout,
        re.MULTILINE,
    )
    rows = [line.split() for line in result.stderr.splitlines()]
    assert ["rewrite", "nodes", "parameters", "MB", "ms", "at", "1", "ms", "at", "64"] in rows
    assert [row[0] for row in rows[-2:]] == ["float32", "float16"]
    assert max(map(len, result.stderr.splitlines())) <= 80


def test_errors_are_errors_of_ganport():
    with pytest.raises(GanportError):
        export("nosuch.keras")
