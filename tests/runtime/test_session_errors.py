"""Errors of the installed onnxruntime are explained, with what to do."""

import re
import subprocess
import sys

import onnxruntime
import pytest
from onnx import TensorProto, helper

from ganport.runtime.session_errors import explain, is_out_of_memory

VERSION = onnxruntime.__version__


def model(*nodes, opset=17, ir_version=9, others=()):
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*other) for other in others)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()


def node(kind, inputs="z", output="y", **settings):
    return helper.make_node(kind, [inputs], [output], **settings)


def message_for(content):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises(Exception, match="ONNXRuntimeError") as caught:
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return str(caught.value)


def in_ort_format(tmp_path, version):
    """Return a model in onnxruntime's own format with another version, which its last text states."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "x.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model(node("Tanh")), options, providers=["CPUExecutionProvider"])
    head, mark, tail = (tmp_path / "x.ort").read_bytes().rpartition(b"\x01\0\0\0")
    assert tail[:1].isdigit()
    return head + mark + version + tail[1:]


CASES = {
    "newer IR version": (
        model(node("Tanh"), ir_version=99),
        rf"it has version 99 of the ONNX format, and onnxruntime {VERSION} reads up to version \d+",
        "install a newer onnxruntime, or export the model with an older version of the onnx package",
    ),
    "newer opset": (
        model(node("Tanh"), opset=99, ir_version=10),
        rf"it uses opset 99 of ai\.onnx, and onnxruntime {VERSION} supports up to opset \d+",
        r"install a newer onnxruntime, or export the model with opset \d+",
    ),
    "newer opset of another domain": (
        model(node("Tanh"), others=[("ai.onnx.ml", 99)]),
        rf"it uses opset 99 of ai\.onnx\.ml, and onnxruntime {VERSION} supports up to opset \d+",
        r"install a newer onnxruntime, or export the model with opset \d+",
    ),
    "unknown operation": (
        model(node("Unheard")),
        f"it has the operation Unheard, which onnxruntime {VERSION} does not know in opset 17",
        "install a newer onnxruntime",
    ),
    "operation of an own domain": (
        model(node("Own", domain="my.ops"), others=[("my.ops", 1)]),
        rf"it has the operation Own of the domain 'my\.ops', which onnxruntime {VERSION} does not know",
        "with ONNX's own operations only",
    ),
    "operation of a domain without an opset": (
        model(node("Own", domain="my.ops")),
        rf"it has the operation Own of the domain 'my\.ops', which onnxruntime {VERSION} does not know",
        "with ONNX's own operations only",
    ),
    "newer operation of onnxruntime": (
        model(node("Own", domain="com.microsoft"), others=[("com.microsoft", 1)]),
        r"it has the operation Own of the domain 'com\.microsoft'",
        "install a newer onnxruntime",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_error_that_holds_for_all_providers_is_explained(name):
    content, problem, remedy = CASES[name]
    found = explain(message_for(content), VERSION)
    assert found is not None
    assert found.is_final
    assert re.search(problem, found.problem)
    assert re.search(remedy, found.remedy)
    assert "\n" not in found.problem + found.remedy


def test_missing_implementation_may_exist_on_another_provider():
    to_double = node("Cast", "z", "d", to=TensorProto.DOUBLE)
    content = model(to_double, node("Elu", "d", "e"), node("Cast", "e", "y", to=TensorProto.FLOAT))
    found = explain(message_for(content), VERSION)
    assert found.problem.startswith(
        f"onnxruntime {VERSION} does not implement its operation Elu (opset 6), or"
    )
    assert "float32" in found.remedy
    assert not found.is_final


def test_other_version_of_the_ort_format_is_explained(tmp_path):
    found = explain(message_for(in_ort_format(tmp_path, b"9")), VERSION)
    assert found.problem.startswith("it has version 9 of onnxruntime's own format, which onnxruntime ")
    assert found.remedy == (
        "install the version of onnxruntime that wrote it, or use the .onnx file that it was made of"
    )


@pytest.mark.parametrize("content", [model(node("Tanh", inputs="q")), model(node("Tanh", alpha=1.0))])
def test_other_errors_are_not_explained(content):
    assert explain(message_for(content), VERSION) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA failure 2: out of memory ; GPU=0", True),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", True),
        ("Available memory of 0 is smaller than requested bytes of 1024", True),
        ("std::bad_alloc", True),
        ("Non-zero status code returned while running Gather node: indices out of bounds", False),
    ],
)
def test_memory_of_a_gpu_is_memory_too(message, expected):
    assert is_out_of_memory(message) is expected


SHORT_OF_MEMORY = """
import resource, sys
import onnxruntime
from ganport.runtime import GanportError, Sampler
size, count = (int(each) for each in sys.argv[1:])
size += int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    Sampler("rock-paper-scissors", threads=1).sample(range(count))
except GanportError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of Linux")
@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (2**22, r"not enough memory to open it; close other programs"),
        (2**26, r"not enough memory for a batch; a smaller `batch_size` takes less\."),
    ],
)
def test_too_little_memory_is_named(size, problem):
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(size), "64"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert re.search(problem, result.stdout), result.stderr
