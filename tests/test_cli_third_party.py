"""The options that describe a third-party generator are the same in all commands."""

import json

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from ganport.runtime import Sampler
from tests.conftest import failure
from tests.third_party_graphs import (
    DIM,
    IMAGE,
    LABELS,
    SIDE,
    TANH,
    Z,
    chain,
    graph_of,
    index_model,
    joined_model,
    node,
    one_hot_model,
    tensor,
)


@pytest.fixture
def psi(tmp_path):
    """Write a generator with a constant input, whose range is open, and return its options."""
    nodes = [node("Mul", "z psi", "scaled"), node("MatMul", "scaled w", "sum"), *TANH]
    model = graph_of(nodes, [Z, tensor("psi", TensorProto.FLOAT, [1])], [IMAGE])
    (tmp_path / "psi.onnx").write_bytes(model)
    return ["psi.onnx", "--input-value", "psi=0.5"]


def write(tmp_path, model, name="x.onnx"):
    (tmp_path / name).write_bytes(model)


def test_sample_takes_labels_by_name(ganport, tmp_path):
    write(tmp_path, joined_model())
    (tmp_path / "names.txt").write_text("cat\ndog\nhen\nelk\ngnu\n")
    done = ganport(
        "sample", "x.onnx", "--labels", "names.txt", "--label", "elk", "--seeds", "0-3", "-o", "x.npy"
    )
    assert done.returncode == 0, done.stderr
    expected = Sampler(joined_model(), labels=LABELS).sample(range(4), labels=3)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)


def test_note_about_a_possible_label_is_printed(ganport, tmp_path):
    weights = np.ones((110, SIDE * SIDE), np.float32) / 50
    model = graph_of(
        [node("MatMul", "z wide", "sum"), *TANH],
        [tensor("z", TensorProto.FLOAT, ["n", 110])],
        [IMAGE],
        wide=weights,
    )
    write(tmp_path, model)
    done = ganport("sample", "x.onnx")
    assert done.returncode == 0
    assert "note: the input 'z' takes 110 numbers, which may hold a label's one-hot code" in done.stderr
    assert "give --labels, such as --labels 10" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "walk", "bench"])
def test_commands_take_a_constant(ganport, psi, command):
    more = {"bench": ["--seconds", "0.01", "--provider", "cpu"], "walk": ["--seeds", "0-1", "--frames", "2"]}
    done = ganport(command, *psi, *more.get(command, []))
    assert done.returncode == 0, done.stderr


def test_missing_constant_is_named_as_an_option(ganport, psi):
    done = ganport("sample", "psi.onnx")
    assert done.returncode == 1
    assert "give its value, such as --input-value psi=0.7" in done.stderr


def test_verify_says_what_to_do(ganport, psi):
    done = ganport("verify", *psi)
    assert done.returncode == 2
    assert "a third-party model, which holds no golden images; `ganport export FILE.onnx`" in done.stderr


def test_inspect_shows_labels_and_range(ganport, tmp_path):
    write(tmp_path, index_model())
    document = json.loads(ganport("inspect", "x.onnx", "--json").stdout)
    assert document["input"]["labels"] == ["0", "1", "2", "3", "4"]
    assert document["image"]["range"] == [-1, 1]


def test_inspect_shows_what_each_input_gets(ganport, psi, tmp_path):
    assert "psi the constant 0.5" in " ".join(ganport("inspect", *psi).stdout.split())
    write(tmp_path, joined_model())
    document = json.loads(ganport("inspect", "x.onnx", "--labels", "5", "--json").stdout)
    places = {"z": f"{DIM} latents, and the one-hot code of the label from index {DIM} on"}
    assert document["graph_inputs"] == places


def test_exported_file_needs_no_options(ganport, tmp_path):
    write(tmp_path, one_hot_model())
    done = ganport("export", "x.onnx", "--labels", "5", "-o", "own.onnx")
    assert done.returncode == 0, done.stderr
    assert "verified against the original file with 256 seeds in batches of 1, 7, 64" in done.stdout
    for arguments in (["sample", "own.onnx", "--label", "3"], ["verify", "own.onnx"]):
        done = ganport(*arguments)
        assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.mode == "L"


def test_export_of_an_onnx_file_does_not_replace_it(ganport, tmp_path):
    write(tmp_path, index_model())
    before = (tmp_path / "x.onnx").read_bytes()
    done = ganport("export", "x.onnx", "-o", "x.onnx", "--overwrite")
    assert done.returncode == 1
    assert "x.onnx: it is the file to export; choose another --out" in done.stderr
    assert ganport("export", "x.onnx").returncode == 0
    assert (tmp_path / "x.onnx").read_bytes() == before
    assert Sampler(tmp_path / "x-exported.onnx").contract.name == "x"


def test_missing_facts_are_named_by_the_options_of_the_command(ganport, tmp_path):
    weights = np.ones((DIM, 3 * 8 * 3), np.float32)
    nodes = [
        node("MatMul", "z w", "sum"),
        node("Tanh", "sum", "flat"),
        node("Reshape", "flat shape", "image"),
    ]
    both = np.array([-1, 3, 8, 3], np.int64)
    image = tensor("image", TensorProto.FLOAT, ["n", 3, 8, 3])
    write(tmp_path, graph_of(nodes, [Z], [image], w=weights, shape=both))
    assert "choose one with --source-layout" in ganport("export", "x.onnx").stderr
    assert "choose one with --layout" in ganport("walk", "x.onnx").stderr
    write(tmp_path, one_hot_model())
    assert "give --labels 5" in ganport("walk", "x.onnx").stderr


def test_layout_of_the_source_has_an_option_of_its_own(ganport, tmp_path):
    weights = np.random.default_rng(0).standard_normal((6, 24)).astype(np.float32)
    nodes = [node("MatMul", "z colour", "sum"), node("Tanh", "sum", "image")]
    write(tmp_path, graph_of(nodes, [Z], [tensor("image", TensorProto.FLOAT, ["n", 24])], colour=weights))
    size = ["--image-size", "2x4x3"]
    done = ganport("export", "x.onnx", *size, "--source-layout", "NCHW", "--layout", "NHWC", "-o", "own.onnx")
    assert done.returncode == 0, done.stderr
    original = Sampler(tmp_path / "x.onnx", image_size=(2, 4, 3), layout="NCHW").sample(range(5))
    assert np.abs(Sampler(tmp_path / "own.onnx").sample(range(5)).astype(int) - original).max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--range", "0-255"], "--range is '0-255'; it must be tanh for -1 to 1"),
        (["--labels", "no.txt"], "--labels is 'no.txt', which is not a number, and not a file of names"),
        (["--image-size", "28"], "--image-size is '28'; expected HEIGHTxWIDTHxCHANNELS"),
        (["--input-value", "psi"], "--input-value is 'psi'; expected NAME=NUMBER"),
        (["--labels-at", "x"], "--labels-at"),
    ],
)
@pytest.mark.parametrize("command", ["sample", "inspect"])
def test_malformed_descriptions_are_wrong_usage(ganport, tmp_path, command, options, words):
    write(tmp_path, chain(("Tanh", "", {})))
    done = ganport(command, "x.onnx", *options)
    assert done.returncode == 2
    assert words in done.stderr


def test_lines_to_write_are_printed_as_lines(capsys):
    from ganport.runtime.command import guarded
    from ganport.runtime.errors import GanportError

    def fail():
        raise GanportError("Write\n  this:\n\n    def f():\n        return 1")

    assert guarded(fail) == 1
    assert capsys.readouterr().err == "error: Write this:\n    def f():\n        return 1\n"


@pytest.mark.parametrize("command", ["inspect", "bench"])
def test_file_above_its_budget_names_the_option(ganport, tmp_path, command):
    write(tmp_path, index_model())
    message = failure(ganport(command, "x.onnx", "--budget", "0.000001"))
    assert message.endswith("if you trust the file, raise the limits with --budget, such as --budget 4.")
