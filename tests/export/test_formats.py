"""Formats other than ONNX, each opened; the model card."""

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from ganport.export import Options, export_generator
from ganport.export.card import write_card
from ganport.export.verified import convert_and_verify
from ganport.export.writing import write_model
from ganport.runtime import Sampler, check_golden
from ganport.runtime.errors import OutputError, UsageError


@pytest.fixture(scope="module")
def verified(source):
    return convert_and_verify(source)


def test_ort_file_generates_the_images_of_the_onnx_file(verified, tmp_path):
    for file_format in ("onnx", "ort"):
        write_model(verified, tmp_path / f"x.{file_format}", file_format)
    assert (tmp_path / "x.ort").read_bytes()[4:8] == b"ORTM"
    sampler = Sampler(tmp_path / "x.ort")
    assert sampler.contract.name == "shaken"
    assert all(check.passed for check in check_golden(sampler))
    difference = sampler.sample(range(100)).astype(int) - Sampler(tmp_path / "x.onnx").sample(range(100))
    assert np.abs(difference).max() <= 1


def test_operators_for_a_reduced_build_lie_beside_the_ort_file(verified, tmp_path):
    write_model(verified, tmp_path / "x.ort", "ort")
    text = (tmp_path / "x.config").read_text()
    assert text.startswith("# The operators of x.ort")
    assert str(tmp_path) not in text
    lines = text.splitlines()[1:]
    assert all(re.fullmatch(r"[\w.]+;\d+;.+", line) for line in lines)
    written = {kind for line in lines for kind in re.findall(r"[A-Z]\w+", line.split(";")[2])}
    # What onnxruntime would run: the nodes of the same graph, written as ONNX after the same optimisation.
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(verified.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert written == {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}


def test_existing_list_of_operators_is_not_replaced(verified, tmp_path):
    (tmp_path / "x.config").write_text("mine")
    with pytest.raises(OutputError, match=r"x\.config"):
        write_model(verified, tmp_path / "x.ort", "ort")
    assert [path.name for path in tmp_path.iterdir()] == ["x.config"]
    write_model(verified, tmp_path / "x.ort", "ort", overwrite=True)
    assert "Gemm" in (tmp_path / "x.config").read_text()


def read_pbtxt(text):
    """Return a config.pbtxt as nested dictionaries. Only the syntax that the exporter writes is supported."""
    text = re.sub(r"([\w.]+)\s*:\s*(TYPE_\w+)", r'"\1": "\2",', text)
    text = re.sub(r"([\w.]+)\s*:\s*(\"[^\"]*\"|-?\d+|\[[^\]]*\])", r'"\1": \2,', text)
    text = re.sub(r"(?<![\w\"])(\w+)\s*:?\s*([\[{])", r'"\1": \2', text)
    text = re.sub(r"([\]}])(?=\s*(\"|$))", r"\1,", text)
    return eval("{" + text + "}")


@pytest.mark.parametrize(
    ("options", "expected", "dims", "largest"),
    [
        (Options(), {"name": "latent", "data_type": "TYPE_FP32", "dims": [100]}, [28, 28, 1], 64),
        (
            Options(input_kind="seed"),
            {"name": "seed", "data_type": "TYPE_INT64", "dims": [1], "reshape": {"shape": []}},
            [28, 28, 1],
            64,
        ),
        (Options(batch=4), {"name": "latent", "data_type": "TYPE_FP32", "dims": [4, 100]}, [4, 28, 28, 1], 0),
        (
            Options(layout="NCHW"),
            {"name": "latent", "data_type": "TYPE_FP32", "dims": [100]},
            [1, 28, 28],
            64,
        ),
    ],
    ids=["latent", "seed", "fixed batch", "channels first"],
)
def test_triton_repository(source, tmp_path, options, expected, dims, largest):
    write_model(convert_and_verify(source, options), tmp_path / "repository" / "digits", "triton")
    folder = tmp_path / "repository" / "digits"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "1",
        "1/model.onnx",
        "config.pbtxt",
    ]
    config = read_pbtxt((folder / "config.pbtxt").read_text())
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("digits", "onnxruntime", largest)
    assert config["input"] == [expected]
    assert config["output"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": dims}]
    assert ("dynamic_batching" in config) == bool(largest)
    session = ort.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape[-len(dims) :] == dims
    assert Sampler(folder / "1" / "model.onnx").sample([1, 2]).shape == (2, 28, 28, 1)


def test_triton_does_not_take_a_model_without_inputs(source, tmp_path):
    verified = convert_and_verify(source, Options(input_kind="fixed", seeds=(1,)))
    with pytest.raises(UsageError, match="`file_format='triton'` does not take a model without inputs"):
        write_model(verified, tmp_path / "x", "triton")
    assert not list(tmp_path.iterdir())


def test_other_versions_in_a_repository_are_kept(verified, tmp_path):
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "model.onnx").write_text("another version")
    write_model(verified, tmp_path, "triton")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        write_model(verified, tmp_path, "triton")
    write_model(verified, tmp_path, "triton", overwrite=True)
    assert (tmp_path / "2" / "model.onnx").read_text() == "another version"


def test_triton_model_is_replaced_if_requested(verified, tmp_path):
    write_model(verified, tmp_path / "x", "triton")
    (tmp_path / "x" / "config.pbtxt").write_text("older")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        write_model(verified, tmp_path / "x", "triton")
    write_model(verified, tmp_path / "x", "triton", overwrite=True)
    assert "older" not in (tmp_path / "x" / "config.pbtxt").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_card_describes_the_file(source, tmp_path):
    export_generator(source, tmp_path / "digits.onnx", Options(input_kind="seed"))
    page, preview = write_card(tmp_path / "digits.onnx", tmp_path)
    text = page.read_text()
    for words in (
        "# shaken",
        "![Images of the model](preview.png)",
        "int64 [batch]",
        "CC0",
        "`digits.onnx`",
        "largest difference",
    ):
        assert words in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    names = {}
    exec(code.replace('"digits.onnx"', f'"{tmp_path / "digits.onnx"}"'), names)
    assert names["images"].shape == (3, 28, 28, 1)
    assert preview.stat().st_size > 1000
