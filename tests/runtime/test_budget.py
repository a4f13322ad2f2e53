"""Files that cost too much are rejected before onnxruntime opens them, and large generators are not."""

import time
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ganport.runtime import Sampler
from ganport.runtime.budget import Budget
from ganport.runtime.errors import ModelFormatError, ModelTooLargeError, UsageError
from ganport.runtime.onnx_file import read_outline
from tests.runtime import bombs
from tests.runtime.bombs import BOMBS, branch, ints, node, ones


@pytest.fixture
def traced():
    """Measure the memory that Python takes during a test."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.usefixtures("traced")
def test_file_that_costs_too_much_is_rejected_quickly(name):
    make, words = BOMBS[name]
    content = make()
    tracemalloc.reset_peak()
    started = time.thread_time()  # thread time, which excludes the time of other programs
    with pytest.raises(ModelTooLargeError, match=words) as caught:
        Sampler(content)
    assert time.thread_time() - started < 5
    assert tracemalloc.get_traced_memory()[1] < 1e8
    assert caught.value.needed > caught.value.limit
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["initializers", "inputs", "inputs of a node"])
def test_file_of_many_small_messages_is_rejected_quickly(kind):
    content = bombs.many_messages(kind)
    started = time.thread_time()
    with pytest.raises(ModelTooLargeError, match="131,073 fields in the file, and the limit is 131,072"):
        Sampler(content)
    assert time.thread_time() - started < 5


def test_tensors_that_share_bytes_of_a_second_file_are_counted_each(tmp_path):
    with pytest.raises(ModelTooLargeError, match="419,430,400 bytes of tensors in the file"):
        Sampler(bombs.overlapping_weights(tmp_path))


def test_function_that_calls_itself_from_a_branch_is_rejected():
    calls = [branch(node("f", ["a"], [name], domain="own")) for name in "pq"]
    body = [
        node("ReduceMax", ["a"], ["m"], keepdims=0),
        node("Cast", ["m"], ["c"], to=onnx.TensorProto.BOOL),
        node("If", ["c"], ["b"], then_branch=calls[0], else_branch=calls[1]),
    ]
    function = helper.make_function("own", "f", ["a"], ["b"], body, bombs.OPSETS)
    content = bombs.model([node("f", ["z"], ["y"], domain="own")], functions=[function])
    with pytest.raises(ModelFormatError, match="its function 'f' calls itself"):
        read_outline(content)


def test_functions_and_branches_that_are_nested_in_turn_are_rejected():
    functions = []
    for level in range(16):
        inner = node(
            f"f{level + 1}" if level < 15 else "Tanh", ["a"], ["o"], domain="own" if level < 15 else ""
        )
        for _ in range(16):
            inner = node("If", ["a"], ["o"], then_branch=branch(inner))
        inner.output[0] = "b"
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], [inner], bombs.OPSETS))
    content = bombs.model([node("f0", ["z"], ["y"], domain="own")], functions=functions)
    with pytest.raises(ModelFormatError, match="its functions and graphs are nested too deeply"):
        read_outline(content)


def test_call_with_more_outputs_than_its_function_is_read():
    call = node("f0", ["z"], ["y", "more", ""], domain="own")
    content = bombs.model([call], functions=bombs.calling_functions(1, 2))
    assert len(read_outline(content).nodes) == 1


def test_budget_of_the_caller_raises_the_limits():
    content = BOMBS["constants that add up"][0]()
    with pytest.raises(ModelTooLargeError, match="such as `budget=4`"):
        read_outline(content, budget=1.5)
    assert read_outline(content, budget=8).nodes
    with pytest.raises(UsageError, match="`budget` is nan; it must be a number above 0"):
        Sampler("mnist", budget=float("nan"))


def test_sampler_opens_a_file_within_its_own_budget():
    content = bombs.chain(40)
    with pytest.raises(ModelTooLargeError, match="40 operations in the file, after its functions"):
        Sampler(content, budget=39 / Budget().operations)
    sampler = Sampler(content, budget=40 / Budget().operations, value_range="tanh", image_size=(2, 2, 1))
    assert sampler.sample([0]).shape == (1, 2, 2, 1)
    assert len(sampler.model.fingerprint()) == 64


def test_large_generator_is_within_the_budget():
    """StyleGAN2 has about these layers: 32 channels at 1024x1024, and twice as many at each smaller size."""
    nodes, tensors, value, channels = [node("Reshape", ["z", "start"], ["x4"])], [], "x4", 512
    side = 4
    while side < 1024:
        side *= 2
        narrow = min(512, 2**15 // side)
        up, out = f"up{side}", f"x{side}"
        tensors += [ones(f"w{side}", channels, narrow, 2, 2), ones(f"v{side}", narrow, narrow, 3, 3)]
        nodes += [
            node("ConvTranspose", [value, f"w{side}"], [up], strides=[2, 2]),
            node("Conv", [up, f"v{side}"], [f"c{side}"], pads=[1, 1, 1, 1]),
            node("LeakyRelu", [f"c{side}"], [out]),
        ]
        value, channels = out, narrow
    nodes.append(node("Conv", [value, "rgb"], ["y"]))
    tensors += [ints("start", -1, 512, 4, 4), ones("rgb", 3, channels, 1, 1)]
    content = bombs.model(nodes, tensors, inputs=("n", 512 * 16))
    assert len(read_outline(content).nodes) == len(nodes)


def test_weights_in_half_precision_may_be_converted_when_the_file_is_opened():
    """The converted weights exceed the limit for a small file, and the limit grows with the file."""
    half = numpy_helper.from_array(np.zeros(2**24, np.float16), "half")
    steps = [node("Cast", ["half"], ["w0"], to=onnx.TensorProto.FLOAT)]
    steps += [node("Transpose", [f"w{k}"], [f"w{k + 1}"]) for k in range(5)]
    assert read_outline(bombs.model([*steps, *bombs.added("w5")], [half])).nodes


def test_values_are_released_after_their_last_use():
    """Twenty values of 2^27 bytes exceed the limit only if they are in memory at the same time."""
    wide = [node("Tile", ["z", "s"], ["e0"])]
    after_each_other = [node("Tanh", [f"e{k}"], [f"e{k + 1}"]) for k in range(20)]
    content = bombs.largest_of_a_batch(
        [*wide, *after_each_other, node("Neg", ["e20"], ["e"])], [ints("s", 1, 2**23)]
    )
    assert read_outline(content).nodes
    together = [node("Tanh", ["e0"], [f"e{k + 1}"]) for k in range(20)]
    total = node("Sum", [f"e{k + 1}" for k in range(20)], ["e"])
    with pytest.raises(ModelTooLargeError, match="bytes of memory for one image"):
        read_outline(bombs.largest_of_a_batch([*wide, *together, total], [ints("s", 1, 2**23)]))


def test_input_without_a_shape_hides_no_cost():
    made = onnx.load_from_string(BOMBS["Pads of the input that add up"][0]())
    made.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelTooLargeError, match="bytes of memory"):
        read_outline(made.SerializeToString())


def test_order_of_the_operations_in_the_file_hides_no_cost():
    """onnxruntime sorts the operations of a file."""
    for name in ("doubling", "Pads of the input that add up"):
        made = onnx.load_from_string(BOMBS[name][0]())
        nodes = list(reversed(made.graph.node))
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        with pytest.raises(ModelTooLargeError, match="bytes of"):
            read_outline(made.SerializeToString())


def test_unknown_operation_counts_as_nothing():
    content = bombs.model([node("Unheard", ["z"], ["u"], domain="own"), *bombs.added("u")])
    assert len(read_outline(content).nodes) == 4
