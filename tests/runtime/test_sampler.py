import itertools
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import ganport.runtime as runtime
from ganport.runtime import Sampler, latents_of, to_uint8
from ganport.runtime.errors import (
    ClosedSamplerError,
    ContractError,
    ContractVersionError,
    FixedSeedError,
    InferenceError,
    InputKindError,
    LabelError,
    LatentShapeError,
    LatentValueError,
    ModelFormatError,
    ModelNotFoundError,
    NotAGeneratorError,
    ProviderError,
    SeedError,
    UsageError,
)
from ganport.runtime.providers import open_session
from tests.conftest import ROOT
from tests.tiny_generator import DIM, SHAPE, draw_with_numpy, tiny_contract, tiny_model

seed_lists = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=100)


@pytest.fixture(scope="module", params=[("uint8", None), ("float32", None), ("uint8", 4), ("float32", 4)], ids=str)
def sampler(request, tmp_path_factory):
    """The tiny generator in each form that an export can have."""
    dtype, batch = request.param
    path = tmp_path_factory.mktemp("sampler") / "tiny.onnx"
    path.write_bytes(tiny_model(dtype, batch).SerializeToString())
    return Sampler(path)


@given(seeds=seed_lists)
def test_images_are_those_of_the_generator(sampler, seeds):
    expected = to_uint8(draw_with_numpy(latents_of(np.array(seeds, np.int64), DIM)))
    drawn = sampler.sample(seeds)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (len(seeds), *SHAPE)
    # numpy and onnxruntime may round a tanh to either side of the border between two levels
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@given(seeds=seed_lists, data=st.data())
def test_image_belongs_to_its_seed_alone(sampler, seeds, data):
    together = sampler.sample(seeds)
    order = data.draw(st.permutations(range(len(seeds))))
    np.testing.assert_array_equal(sampler.sample([seeds[index] for index in order]), together[order])
    index = data.draw(st.integers(0, len(seeds) - 1))
    np.testing.assert_array_equal(sampler.sample([seeds[index]])[0], together[index])


def test_latents_draw_what_their_seeds_draw(sampler):
    seeds = np.arange(70)
    latents = latents_of(seeds, DIM)
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(sampler.sample_latents(latents.astype(kind)), sampler.sample(seeds))
    np.testing.assert_array_equal(sampler.sample_latents(latents[::-1]), sampler.sample(seeds[::-1]))


@pytest.mark.parametrize("shape", [(DIM,), (0, DIM), (2, DIM + 1), (2, DIM, 1)])
def test_latents_of_another_shape_are_refused(sampler, shape):
    with pytest.raises(LatentShapeError) as caught:
        sampler.sample_latents(np.zeros(shape, np.float32))
    assert caught.value.got == shape


@pytest.mark.parametrize("seeds", [[], [-1], [0.5], [2**63]])
def test_bad_seeds_are_refused(sampler, seeds):
    with pytest.raises(SeedError):
        sampler.sample(seeds)


def test_model_is_the_contract(sampler):
    assert sampler.model.name == "tiny"
    assert sampler.model.image.shape == SHAPE


def test_missing_file(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none.onnx", tmp_path, tmp_path / "file" / "x.onnx", tmp_path / ("x" * 300)):
        with pytest.raises(ModelNotFoundError, match="ganport export"):
            Sampler(path)


def test_a_name_that_is_nearly_one_in_the_box_is_told_those():
    with pytest.raises(ModelNotFoundError, match="name one in the box: fashion-mnist, mnist, rock-paper-scissors"):
        Sampler("minst")


@pytest.mark.parametrize(
    ("inside", "remedy"),
    [
        ("generator.onnx", "the model in it is .*generator.onnx"),
        ("1/model.onnx", "the model in it is .*1/model.onnx"),
        ("recipe.json", "make one with: ganport export '.*a run'"),
    ],
)
def test_folder_of_a_model_says_where_that_is(tmp_path, inside, remedy):
    folder = tmp_path / "a run"
    (folder / inside).parent.mkdir(parents=True)
    (folder / inside).touch()
    with pytest.raises(ModelNotFoundError, match=remedy):
        Sampler(folder)


@pytest.mark.parametrize("labels", [[[1], [1, 2]], [np.array(1), np.array([2])], [None, 1], [list(range(3000)), 1]])
def test_lists_that_hold_no_classes_are_refused(labels):
    with pytest.raises(LabelError) as caught:
        Sampler("mnist").sample([1, 2], labels=labels)
    assert len(str(caught.value)) < 200


def test_stream_takes_one_class_for_all():
    for labels in ([1, 2], np.array([1, 2])):
        with pytest.raises(UsageError, match="one label for all"):
            Sampler("mnist").stream([1, 2], label=labels)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="the file that even root can't read")
def test_file_that_cant_be_read():
    with pytest.raises(ModelNotFoundError, match="input/output error"):
        Sampler("/proc/self/mem")


def test_every_truncation_is_refused(tiny_file, tmp_path):
    content = tiny_file.read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(0, len(content), 41):
        cut.write_bytes(content[:length])
        with pytest.raises((ModelFormatError, NotAGeneratorError)):
            Sampler(cut)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" * 10, bytes(1000), b"\xff" * 1000])
def test_file_that_is_no_onnx_is_refused(tmp_path, content, capfd):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        Sampler(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_onnx_without_contract_is_no_generator(tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny_model(metadata={}).SerializeToString())
    with pytest.raises(NotAGeneratorError):
        Sampler(path)


def test_contract_of_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "newer.onnx"
    text = tiny_contract().to_json().replace('"format": 1', '"format": 3')
    path.write_bytes(tiny_model(metadata={"ganport": text}).SerializeToString())
    with pytest.raises(ContractVersionError):
        Sampler(path)


@pytest.mark.parametrize(
    "contract",
    [
        tiny_contract(dtype="uint8"),
        tiny_contract(batch=4),
        tiny_contract(input=runtime.InputSpec(kind="latent", name="z", dim=DIM, distribution="normal")),
        tiny_contract(input=runtime.InputSpec(kind="latent", name="latent", dim=DIM + 1, distribution="normal")),
    ],
    ids=["dtype", "batch", "name", "dim"],
)
def test_contract_of_another_file_is_refused(tmp_path, contract):
    path = tmp_path / "swapped.onnx"
    path.write_bytes(tiny_model(metadata={"ganport": contract.to_json()}).SerializeToString())
    with pytest.raises(ContractError, match="the contract promises"):
        Sampler(path)


def test_second_output_is_refused(tmp_path):
    model = tiny_model()
    model.graph.output.append(helper.make_tensor_value_info("float", TensorProto.FLOAT, ["batch", *SHAPE]))
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ContractError):
        Sampler(path)


def test_folder_works_under_another_name_in_an_empty_project(tiny_file, tmp_path):
    shutil.copytree(ROOT / "runtime", tmp_path / "my_app" / "ganlib")
    (tmp_path / "my_app" / "__init__.py").touch()
    code = (
        "import sys; from my_app.ganlib import Sampler\n"
        f"sys.stdout.buffer.write(Sampler({str(tiny_file)!r}).sample(range(70)).tobytes())\n"
        "assert 'runtime' not in sys.modules"
    )
    drawn = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env={"PYTHONPATH": "."}, stdout=subprocess.PIPE, check=True
    )
    assert drawn.stdout == Sampler(tiny_file).sample(range(70)).tobytes()


def other_head(path, kind: str, batch: int | None, **spec) -> Sampler:
    """Write a file whose images are all as bright as their seed: it takes seeds, or draws those that are baked in."""
    seeds = spec.get("seeds")
    nodes = [
        helper.make_node("Reshape", ["seed", "column"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["bytes"], to=TensorProto.UINT8),
        helper.make_node("Tile", ["bytes", "repeats"], ["image"]),
    ]
    constants = {"column": np.array([-1, 1, 1, 1]), "repeats": np.array([1, *SHAPE])}
    inputs = [helper.make_tensor_value_info("seed", TensorProto.INT64, [batch or "batch"])]
    if kind == "fixed":
        inputs, constants["seed"] = [], np.array(seeds)
    output = helper.make_tensor_value_info("image", TensorProto.UINT8, [batch or "batch", *SHAPE])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "bright", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    source = runtime.InputSpec(kind=kind, name="seed" if inputs else "", dim=DIM, distribution="normal", **spec)
    helper.set_model_props(model, {"ganport": tiny_contract(dtype="uint8", batch=batch, input=source).to_json()})
    path.write_bytes(model.SerializeToString())
    return Sampler(path)


@pytest.mark.parametrize("batch", [None, 4])
def test_file_that_takes_seeds_is_given_seeds(tmp_path, batch):
    sampler = other_head(tmp_path / "x.onnx", "seed", batch)
    images = sampler.sample(range(70, 80))
    assert images.shape == (10, *SHAPE)
    assert images[:, 0, 0, 0].tolist() == list(range(70, 80))
    with pytest.raises(InputKindError, match="takes seeds"):
        sampler.sample_latents(np.zeros((1, DIM)))


def test_file_with_seeds_baked_in_draws_those(tmp_path):
    sampler = other_head(tmp_path / "x.onnx", "fixed", 3, seeds=(9, 200, 4))
    assert sampler.sample([4, 9, 9])[:, 0, 0, 0].tolist() == [4, 9, 9]
    with pytest.raises(FixedSeedError, match="Seed 5 is not baked"):
        sampler.sample([4, 5])
    with pytest.raises(InputKindError, match="baked in"):
        sampler.sample_latents(np.zeros((1, DIM)))


def test_fixed_file_whose_batch_is_not_its_seeds_is_refused(tmp_path):
    with pytest.raises(ContractError, match="one seed per image"):
        other_head(tmp_path / "x.onnx", "fixed", 2, seeds=(9, 200, 4))


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model().SerializeToString())
    return path


def test_bytes_draw_what_the_file_draws(tiny):
    np.testing.assert_array_equal(Sampler(tiny.read_bytes()).sample(range(9)), Sampler(tiny).sample(range(9)))
    with pytest.raises(ModelFormatError, match="the model of 5 bytes"):
        Sampler(b"hello")


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"threads": 2**40}, {"threads": "2"}, {"batch_size": 0}, {"batch_size": 1.5}]
)
def test_numbers_that_can_not_be_are_refused(tiny, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Sampler(tiny, **options)


def test_batch_size_of_the_model_stands(tmp_path):
    with pytest.raises(UsageError, match="4 images"):
        Sampler(tiny_model(batch=4).SerializeToString(), batch_size=8)


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"batch_size": 1}, {"batch_size": 7}])
def test_threads_and_batches_change_no_byte(tiny, options):
    np.testing.assert_array_equal(Sampler(tiny, **options).sample(range(20)), Sampler(tiny).sample(range(20)))


def test_truncation_scales_the_latents(tiny):
    sampler = Sampler(tiny)
    latents = latents_of(np.arange(9), DIM)
    np.testing.assert_array_equal(sampler.sample(range(9), truncation=0.5), sampler.sample_latents(latents / 2))
    assert len(np.unique(sampler.sample(range(9), truncation=0), axis=0)) == 1
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(UsageError, match="truncation"):
            sampler.sample([1], truncation=wrong)


def test_latents_that_are_not_finite_are_refused(tiny):
    with pytest.raises(LatentValueError, match="2 of the latents"):
        Sampler(tiny).sample_latents(np.array([[0, np.nan, 0, np.inf, 0]]))


def test_stream_draws_in_order_and_ahead_by_one_batch(tiny):
    sampler = Sampler(tiny, batch_size=4)
    asked = []

    def endless():
        for seed in itertools.count():
            asked.append(seed)
            yield seed

    stream = sampler.stream(endless())
    drawn = [next(stream) for _ in range(3)]
    assert len(asked) == 16  # three batches that were taken, and the next
    np.testing.assert_array_equal(np.concatenate(drawn), sampler.sample(range(12)))
    stream.close()
    np.testing.assert_array_equal(np.concatenate(list(sampler.stream(range(10)))), sampler.sample(range(10)))


def test_stream_tells_mistakes(tiny):
    stream = Sampler(tiny, batch_size=2).stream([1, 2, -1])
    assert len(next(stream)) == 2
    with pytest.raises(SeedError):
        next(stream)
    with pytest.raises(SeedError, match="empty"):
        next(Sampler(tiny).stream([]))
    with pytest.raises(UsageError, match=r"truncation is '0\.5'"):
        Sampler(tiny).stream([1], "0.5")
    with pytest.raises(LabelError):
        Sampler(tiny).stream([1], label=7)


def test_walk_goes_through_its_seeds(tiny):
    sampler = Sampler(tiny, batch_size=4)
    ends = sampler.sample([3, 1, 2])
    loop = np.concatenate(list(sampler.walk([3, 1, 2], 5)))
    assert len(loop) == 15
    np.testing.assert_array_equal(loop[::5], ends)
    there = np.concatenate(list(sampler.walk([3, 1, 2], 5, loop=False)))
    assert len(there) == 11
    np.testing.assert_array_equal(there[::5], ends)
    nearer = np.concatenate(list(sampler.walk([3, 1, 2], 5, truncation=0.5)))
    np.testing.assert_array_equal(nearer[::5], sampler.sample([3, 1, 2], 0.5))
    with pytest.raises(UsageError, match="two seeds"):
        sampler.walk([1], 5)
    with pytest.raises(UsageError, match=r"it got 2 and 1\.5"):
        sampler.walk([1, 2], 1.5)
    with pytest.raises(UsageError, match="frames; it got 2 and 1180591620717411303424"):
        sampler.walk([1, 2], 2**70)
    assert sum(map(len, sampler.walk([1, 2], np.int8(100)))) == 200
    with pytest.raises(UsageError, match="truncation is 2"):
        sampler.walk([1, 2], 5, truncation=2)


def test_closed_sampler_says_so(tiny):
    with Sampler(tiny) as sampler:
        sampler.sample([1])
    with pytest.raises(ClosedSamplerError):
        sampler.sample([1])


def test_pickled_sampler_draws_the_same(tiny):
    for source in (tiny, tiny.read_bytes()):
        sampler = pickle.loads(pickle.dumps(Sampler(source, threads=1, batch_size=3)))
        assert sampler.threads == 1
        np.testing.assert_array_equal(sampler.sample(range(9)), Sampler(tiny).sample(range(9)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_sampler_works_on_both_sides_of_a_fork(tiny):
    script = f"""
import multiprocessing, sys
from ganport.runtime import Sampler
sampler = Sampler({str(tiny)!r}, threads=2)
before = sampler.sample(range(100)).tobytes()
def child(queue):
    queue.put(sampler.sample(range(100)).tobytes() == before)
queue = multiprocessing.get_context("fork").Queue()
process = multiprocessing.get_context("fork").Process(target=child, args=(queue,))
process.start()
assert queue.get(timeout=30)
process.join()
assert sampler.sample(range(100)).tobytes() == before
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, check=True, timeout=60)


def test_threads_share_a_sampler(tiny):
    sampler = Sampler(tiny, batch_size=3)
    expected = sampler.sample(range(50))
    with ThreadPoolExecutor(16) as pool:
        drawn = list(pool.map(lambda _: sampler.sample(range(50)), range(200)))
    assert all((images == expected).all() for images in drawn)


def upsampler() -> bytes:
    """Return a foreign generator with a transposed convolution, whose batches are shared among threads."""
    rng = np.random.default_rng(2)
    constants = {"shape": np.array([-1, 8, 1, 1]), "w": rng.standard_normal((8, 3, 5, 4)).astype(np.float32)}
    nodes = [
        helper.make_node("Reshape", ["z", "shape"], ["a"]),
        helper.make_node("ConvTranspose", ["a", "w"], ["b"]),
        helper.make_node("Tanh", ["b"], ["image"]),
    ]
    value = helper.make_tensor_value_info
    tensors = [value("z", TensorProto.FLOAT, ["n", 8])], [value("image", TensorProto.FLOAT, ["n", 3, 5, 4])]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "upsampler", *tensors, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def test_batches_that_threads_share_are_those_of_one_thread():
    model = upsampler()
    alone, shared = (Sampler(model, threads=threads, layout="NCHW", batch_size=50) for threads in (1, 4))
    for count in (1, 2, 3, 4, 5, 49, 50, 51, 120):
        np.testing.assert_array_equal(shared.sample(range(count)), alone.sample(range(count)))
    with ThreadPoolExecutor(8) as pool:
        for drawn in pool.map(lambda _: shared.sample(range(30)), range(40)):
            np.testing.assert_array_equal(drawn, alone.sample(range(30)))


def test_more_images_than_memory_is_an_error_with_a_way_out(tiny_file, monkeypatch):
    def none_left(*_, **__):
        raise MemoryError

    sampler = Sampler(tiny_file, batch_size=2)
    monkeypatch.setattr(np, "empty", none_left)
    with pytest.raises(InferenceError, match=r"draw them with stream\(\)"):
        sampler.sample_latents(np.zeros((3, DIM)))


def test_auto_takes_the_next_provider_where_the_fastest_does_not_take_the_model(tiny_file, monkeypatch):
    import onnxruntime

    def without_memory(model, provider, threads, repeatable=False):
        if provider == "cuda":
            raise ProviderError("cuda", "it does not take tiny.onnx (out of memory)", "try --provider cpu")
        return open_session(model, provider, threads, repeatable)

    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    monkeypatch.setattr("ganport.runtime.providers._try_provider", lambda ort, provider: None)
    monkeypatch.setattr("ganport.runtime.sampler.open_session", without_memory)
    sampler = Sampler(tiny_file, "auto")
    assert sampler.provider == "cpu"
    assert sampler.passed_over == {"cuda": "it does not take tiny.onnx (out of memory)"}
    assert sampler.sample([7]).shape == (1, *SHAPE)
    with pytest.raises(ProviderError, match="out of memory"):
        Sampler(tiny_file, "cuda")


def test_values_that_are_no_numbers_are_an_error(tmp_path):
    model = tiny_model("float32")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.array([np.nan] + [0] * 11, np.float32), "bias"))
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InferenceError, match=r"2 of 24 values are no numbers"):
        Sampler(tmp_path / "x.onnx").sample([1, 2])


def test_latents_may_be_lists(tiny):
    sampler = Sampler(tiny)
    latents = [[0.5] * DIM, [0.0] * DIM]
    np.testing.assert_array_equal(sampler.sample_latents(latents), sampler.sample_latents(np.array(latents)))
    with pytest.raises(LatentShapeError):
        sampler.sample_latents([0.5] * DIM)


def test_a_sampler_does_not_mind_what_becomes_of_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("x.onnx")
    path.write_bytes(upsampler())
    expected = Sampler(path, threads=1, layout="NCHW").sample(range(5))
    changed, gone, elsewhere = (Sampler(path, threads=2, layout="NCHW") for _ in range(3))
    path.write_bytes(upsampler() + b"\x32\x01x")  # one more description
    np.testing.assert_array_equal(changed.sample(range(5)), expected)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(elsewhere)).sample(range(5)), expected)
    (tmp_path / path).unlink()
    np.testing.assert_array_equal(gone.sample(range(5)), expected)
    with pytest.raises(ModelNotFoundError):
        pickle.loads(pickle.dumps(gone))


def test_stream_of_no_list_of_seeds(tiny_file):
    with pytest.raises(SeedError, match="not a list of seeds"):
        next(Sampler(tiny_file).stream(5))
