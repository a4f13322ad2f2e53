"""Export of third-party ONNX files: the written file generates what the original generates."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from ganport.export import export, export_file
from ganport.export.errors import GeneratorError, VerificationError
from ganport.runtime import Sampler, sample_latents
from ganport.runtime.golden import check_golden
from tests.third_party_graphs import (
    DIM,
    IMAGE,
    LABELS,
    SIDE,
    TANH,
    WEIGHTS,
    Z,
    chain,
    close,
    expected,
    graph_of,
    index_model,
    joined_model,
    node,
    one_hot_model,
    parsed_model,
    tensor,
)

PSI = graph_of(
    [node("Mul", "z psi", "scaled"), node("MatMul", "scaled w", "sum"), *TANH],
    [Z, tensor("psi", TensorProto.FLOAT, [1])],
    [IMAGE],
)
PSI_OF_EACH = graph_of(
    [node("Mul", "z psi", "scaled"), node("MatMul", "scaled w", "sum"), *TANH],
    [Z, tensor("psi", TensorProto.FLOAT, ["n", 1])],
    [IMAGE],
)
KINDS = {
    "index": (index_model(), {}),
    "index (n, 1) int32": (index_model(("n", 1), TensorProto.INT32), {"labels": ["a", "b", "c", "d", "e"]}),
    "one-hot": (one_hot_model(), {"labels": LABELS}),
    "one-hot behind": (joined_model(), {"labels": LABELS}),
    "one-hot between": (joined_model(2), {"labels": LABELS, "labels_at": 2}),
    "psi": (PSI, {"input_values": {"psi": 0.5}}),
    "psi of each": (PSI_OF_EACH, {"input_values": {"psi": 0.5}}),
    "0..255": (chain(("Tanh", "", {}), ("Mul", "b", {}), ("Add", "b", {}), b=np.float32(127.5)), {}),
    "clipped": (chain(("Mul", "half", {}), half=np.float32(0.2)), {"value_range": "tanh", "clip": True}),
    "uniform": (chain(("Tanh", "", {})), {"latents": "uniform"}),
}


def write(tmp_path, content):
    path = tmp_path / "original.onnx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_exported_file_generates_the_images_of_the_original(tmp_path, kind):
    content, options = KINDS[kind]
    path = write(tmp_path, content)
    contract = export(path, tmp_path / "x.onnx", **options)
    original, exported = Sampler(path, **options), Sampler(tmp_path / "x.onnx")
    assert contract.created_by
    assert contract.input.dim == original.contract.input.dim
    assert contract.input.labels == original.contract.input.labels
    assert contract.input.distribution == options.get("latents", "normal")
    assert contract.image.dtype == "uint8"
    assert close(exported.sample(range(40)), original.sample(range(40)))
    if contract.input.labels:
        assert close(exported.sample(range(9), labels=3), original.sample(range(9), labels=3))
    assert all(check.passed for check in check_golden(exported))


@pytest.mark.parametrize(
    "options",
    [
        {"input_kind": "seed"},
        {"input_kind": "fixed", "seeds": "0-7"},
        {"precision": "float16"},
        {"precision": "int8", "allow_loss": True},
        {"layout": "NCHW", "output": "float"},
        {"batch": 3},
    ],
    ids=str,
)
def test_third_party_file_is_exported_with_all_options(tmp_path, options):
    path = write(tmp_path, index_model())
    export(path, tmp_path / "x.onnx", **options)
    exported = Sampler(tmp_path / "x.onnx").sample(range(8))
    difference = np.abs(exported.astype(int) - Sampler(path).sample(range(8)))
    assert difference.mean() < (10 if options.get("precision") == "int8" else 1)


def test_label_goes_to_the_embedding_without_a_one_hot_code(tmp_path):
    exported = export_file(write(tmp_path, index_model()), tmp_path / "x.onnx")
    kinds = [each.op_type for each in exported.verified.model.graph.node]
    assert "OneHot" not in kinds
    assert "ArgMax" not in kinds
    assert "Gather" in kinds


def test_fixed_batch_becomes_free_where_the_images_stay(tmp_path):
    nodes = [node("MatMul", "z w", "sum"), node("Tanh", "sum", "flat"), node("Reshape", "flat one", "image")]
    source = tensor("z", TensorProto.FLOAT, [1, DIM])
    target = tensor("image", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    path = write(tmp_path, graph_of(nodes, [source], [target], one=np.array([1, 1, SIDE, SIDE])))
    assert export(path, tmp_path / "x.onnx").batch is None
    assert close(Sampler(tmp_path / "x.onnx").sample(range(5)), Sampler(path).sample(range(5)))


def test_batch_that_can_not_become_free_stays(tmp_path):
    """A Concat with a constant of one row works with one image only."""
    nodes = [
        node("Concat", "z extra", "both", axis=1),
        node("MatMul", "both wide", "sum"),
        *TANH,
    ]
    model = graph_of(
        nodes,
        [tensor("z", TensorProto.FLOAT, [1, DIM])],
        [tensor("image", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
        extra=np.ones((1, 2), np.float32),
        wide=np.concatenate([WEIGHTS, WEIGHTS[:2]]),
    )
    path, notes = write(tmp_path, model), []
    exported = export_file(path, tmp_path / "x.onnx", note=notes.append)
    assert exported.contract.batch == 1
    assert notes == ["batch: 1, because the graph works with this number of images only"]
    assert close(Sampler(tmp_path / "x.onnx").sample(range(5)), Sampler(path).sample(range(5)))
    with pytest.raises(GeneratorError, match="generates 1 images per run; use `batch=1`"):
        export(path, tmp_path / "y.onnx", batch=4)


def test_float16_graph_is_exported_in_float32(tmp_path):
    nodes = [node("MatMul", "z half", "sum"), *TANH]
    ends = (
        [tensor("z", TensorProto.FLOAT16, ["n", DIM])],
        [tensor("image", TensorProto.FLOAT16, ["n", 1, SIDE, SIDE])],
    )
    path = write(tmp_path, graph_of(nodes, *ends, half=WEIGHTS.astype(np.float16)))
    exported = export_file(path, tmp_path / "x.onnx").verified.model
    types = {tensor.data_type for tensor in exported.graph.initializer}
    assert TensorProto.FLOAT16 not in types
    assert close(Sampler(tmp_path / "x.onnx").sample(range(9)), Sampler(path).sample(range(9)))


def test_damaged_conversion_is_noticed(tmp_path, monkeypatch):
    from ganport.export import described

    def damaged(*arguments, **settings):
        model = described_form(*arguments, **settings)
        for each in model.graph.initializer:
            if each.name.endswith("/w"):
                each.CopyFrom(numpy_helper.from_array(WEIGHTS * np.float32(1.01), each.name))
        return model

    described_form = described.to_standard_form
    monkeypatch.setattr(described, "to_standard_form", damaged)
    with pytest.raises(VerificationError, match="difference to the original"):
        export(write(tmp_path, chain(("Tanh", "", {}))), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_files_that_are_not_generators_are_named(tmp_path):
    photo, image = (tensor(name, TensorProto.FLOAT, ["n", 3, 32, 32]) for name in ("photo", "image"))
    path = write(tmp_path, graph_of([node("Tanh", "photo", "image")], [photo], [image]))
    with pytest.raises(GeneratorError, match=r"original.onnx: its input 'photo' .* takes images"):
        export(path, tmp_path / "x.onnx")


def test_older_opset_is_converted(tmp_path):
    model = onnx.load_from_string(chain(("Tanh", "", {})))
    model.opset_import[0].version = 12
    path = write(tmp_path, model.SerializeToString())
    exported = export_file(path, tmp_path / "x.onnx", input_kind="seed")
    assert exported.verified.model.opset_import[0].version == 18
    assert close(Sampler(tmp_path / "x.onnx").sample(range(5)), Sampler(path).sample(range(5)))


def test_export_of_an_onnx_file_needs_no_tensorflow(tmp_path):
    import subprocess

    path = write(tmp_path, chain(("Tanh", "", {})))
    code = f"""
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = sys.modules["tf2onnx"] = None
import ganport
print(ganport.export({str(path)!r}, {str(tmp_path / "x.onnx")!r}).image.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"({SIDE}, {SIDE}, 1)\n", done.stderr


CALL = "h = MatMul(z, w) x = local.outer(h) image = Reshape(x, image_shape)"
FUNCTIONS = """
<domain: "local", opset_import: ["": 17, "local": 1]> outer (a) => (b) { c = local.inner(a) b = Identity(c) }
<domain: "local", opset_import: ["": 17]> inner (a) => (b) { b = Tanh(a) }
"""
BRANCHES = """
  h = MatMul(z, w)
  x = If (yes) <
    then_branch = g1 () => (float[n, 36] a) { t = Mul(h, one) a = Tanh(t) },
    else_branch = g2 () => (float[n, 36] b) { t = Mul(h, half) b = Sigmoid(t) }
  >
  y = If (no) <
    then_branch = g3 () => (float[n, 36] c) { c = Neg(x) },
    else_branch = g4 () => (float[n, 36] d) {
      d = If (yes) <then_branch = g5 () => (float[n, 36] e) { t = Tanh(x) e = Identity(x) },
                    else_branch = g6 () => (float[n, 36] f) { f = Abs(x) }>
    }
  >
  image = Reshape(y, image_shape)
"""
TRUTHS = {"yes": np.array(True), "no": np.array(False), "one": np.float32(1), "half": np.float32(0.5)}


def unsorted_model():
    """Return a model that uses a value before its operation, as a converter to float16 writes it."""
    model = parsed_model("h = MatMul(z, w) x = Tanh(h) image = Reshape(x, image_shape)")
    model.graph.node.append(model.graph.node[0])
    del model.graph.node[0]
    return model


def old_model():
    """Return a model of version 3 of the format, whose weights are not listed among the inputs."""
    heading = '<ir_version: 3, opset_import: ["": 8]>'
    return parsed_model("h = MatMul(z, w) x = Tanh(h) image = Reshape(x, image_shape)", heading=heading)


@pytest.mark.parametrize(
    "model",
    [
        parsed_model(
            CALL, heading='<ir_version: 9, opset_import: ["": 17, "local": 1]>', functions=FUNCTIONS
        ),
        parsed_model(BRANCHES, **TRUTHS),
        unsorted_model(),
        old_model(),
    ],
    ids=["functions", "branches", "unsorted", "old"],
)
def test_graph_that_is_not_flat_is_exported(tmp_path, model):
    path = write(tmp_path, model.SerializeToString())
    options = {"value_range": "tanh"} if model.functions or "If" in str(model) else {}
    exported = export_file(path, tmp_path / "x.onnx", **options)
    assert not {each.op_type for each in exported.verified.model.graph.node} & {"If", "outer", "inner"}
    latents = sample_latents(range(9), DIM)
    assert close(Sampler(tmp_path / "x.onnx").sample(range(9)), expected(latents))


def test_branch_that_depends_on_the_batch_is_reported(tmp_path):
    model = parsed_model(
        "s = Shape <end = 1> (z) q = Squeeze(s) few = Equal(q, count) h = MatMul(z, w)"
        " x = If (few) <then_branch = g1 () => (float[n, 36] a) { a = Tanh(h) },"
        " else_branch = g2 () => (float[n, 36] b) { b = Tanh(h) }> image = Reshape(x, image_shape)",
        count=np.int64(1),
    )
    path = write(tmp_path, model.SerializeToString())
    assert Sampler(path, value_range="tanh").contract.batch is None
    with pytest.raises(GeneratorError, match="has an If whose condition 'few' differs from run to run"):
        export(path, tmp_path / "x.onnx", value_range="tanh")


def test_weights_behind_links_are_read(tmp_path):
    """The cache of Hugging Face has links to the model and to its weights in one folder."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    model = parsed_model("h = MatMul(z, w) x = Tanh(h) image = Reshape(x, image_shape)")
    onnx.save(
        model, snapshot / "g.onnx", save_as_external_data=True, location="g.onnx.data", size_threshold=512
    )
    for name in ("g.onnx", "g.onnx.data"):
        (snapshot / name).rename(blobs / f"sha-{name}")
        (snapshot / name).symlink_to(f"../../blobs/sha-{name}")
    (tmp_path / "mine.onnx").symlink_to(snapshot / "g.onnx")
    export(tmp_path / "mine.onnx", tmp_path / "x.onnx")
    images = Sampler(tmp_path / "x.onnx").sample(range(9))
    assert close(images, expected(sample_latents(range(9), DIM)))


def test_values_that_interpolation_moves_out_of_the_range_are_clipped(tmp_path):
    model = parsed_model(
        "h = MatMul(z, w) x = Tanh(h) i = Reshape(x, image_shape)"
        " f = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()"
        ' image = Resize <mode = "cubic"> (i, , f)',
        outputs="float[n, 1, 12, 12] image",
    )
    path = write(tmp_path, model.SerializeToString())
    export(path, tmp_path / "x.onnx")
    assert close(Sampler(tmp_path / "x.onnx").sample(range(9)), Sampler(path).sample(range(9)))


def test_levels_of_the_original_may_be_cut_off(tmp_path):
    """The usual end of a demo cuts the decimals off, so that a rounding error may change a level."""
    body = "h = MatMul(z, w) t = Tanh(h) m = Mul(t, byte) a = Add(m, mean) c = Cast <to = 2> (a)"
    model = parsed_model(
        body + " image = Reshape(c, image_shape)",
        outputs="uint8[n, 1, 6, 6] image",
        byte=np.float32(127.5),
        mean=np.float32(128),
    )
    path = write(tmp_path, model.SerializeToString())
    export(path, tmp_path / "x.onnx")
    images, original = (Sampler(each).sample(range(64)) for each in (tmp_path / "x.onnx", path))
    assert close(images, original)
    assert (images != original).mean() < 0.001


def test_fixed_batch_of_a_one_hot_code_becomes_free(tmp_path):
    nodes = [
        node("MatMul", "z w", "dense"),
        node("MatMul", "y codes", "code"),
        node("Add", "dense code", "sum"),
        *TANH,
    ]
    ends = [tensor("z", TensorProto.FLOAT, [1, DIM]), tensor("y", TensorProto.FLOAT, [1, LABELS])]
    path = write(tmp_path, graph_of(nodes, ends, [tensor("image", TensorProto.FLOAT, [1, 1, SIDE, SIDE])]))
    assert export(path, tmp_path / "x.onnx", labels=LABELS).batch is None
    images = Sampler(tmp_path / "x.onnx").sample(range(9), labels=2)
    assert close(images, Sampler(path, labels=LABELS).sample(range(9), labels=2))
