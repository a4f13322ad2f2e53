import io
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
from PIL import Image

import ganport.runtime as runtime
from ganport.runtime import PRETRAINED, Sampler, sample_latents, to_uint8
from ganport.runtime import model as model_module
from ganport.runtime.contract import FORMAT
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
from ganport.runtime.request import graph_inputs, request_seeds
from tests.conftest import ROOT
from tests.tiny_generator import DIM, SHAPE, generate_with_numpy, tiny_contract, tiny_model

seed_lists = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=100)


@pytest.fixture(
    scope="module", params=[("uint8", None), ("float32", None), ("uint8", 4), ("float32", 4)], ids=str
)
def sampler(request, tmp_path_factory):
    """The tiny generator in each form that an export can have."""
    dtype, batch = request.param
    path = tmp_path_factory.mktemp("sampler") / "tiny.onnx"
    path.write_bytes(tiny_model(dtype, batch).SerializeToString())
    return Sampler(path)


@given(seeds=seed_lists)
def test_images_are_those_of_the_generator(sampler, seeds):
    expected = to_uint8(generate_with_numpy(sample_latents(np.array(seeds, np.int64), DIM)))
    images = sampler.sample(seeds)
    assert images.dtype == np.uint8
    assert images.shape == (len(seeds), *SHAPE)
    # NumPy and onnxruntime may round a value between two levels to different levels.
    assert np.abs(images.astype(int) - expected).max() <= 1


@given(seeds=seed_lists, data=st.data())
def test_image_depends_only_on_its_seed(sampler, seeds, data):
    together = sampler.sample(seeds)
    order = data.draw(st.permutations(range(len(seeds))))
    np.testing.assert_array_equal(sampler.sample([seeds[index] for index in order]), together[order])
    index = data.draw(st.integers(0, len(seeds) - 1))
    np.testing.assert_array_equal(sampler.sample([seeds[index]])[0], together[index])


def test_latents_give_the_images_of_their_seeds(sampler):
    seeds = np.arange(70)
    latents = sample_latents(seeds, DIM)
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(
            sampler.sample_from_latents(latents.astype(kind)), sampler.sample(seeds)
        )
    np.testing.assert_array_equal(sampler.sample_from_latents(latents[::-1]), sampler.sample(seeds[::-1]))


@pytest.mark.parametrize("shape", [(DIM,), (0, DIM), (2, DIM + 1), (2, DIM, 1)])
def test_latents_of_another_shape_are_rejected(sampler, shape):
    with pytest.raises(LatentShapeError) as caught:
        sampler.sample_from_latents(np.zeros(shape, np.float32))
    assert caught.value.got == shape


@pytest.mark.parametrize("seeds", [[], [-1], [0.5], [2**63]])
def test_invalid_seeds_are_rejected(sampler, seeds):
    with pytest.raises(SeedError):
        sampler.sample(seeds)


def test_sampler_holds_the_contract(sampler):
    assert sampler.contract.name == "tiny"
    assert sampler.contract.image.shape == SHAPE


def test_missing_file_is_rejected_with_a_remedy(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none.onnx", tmp_path, tmp_path / "file" / "x.onnx", tmp_path / ("x" * 300)):
        with pytest.raises(ModelNotFoundError, match="ganport export"):
            Sampler(path)


@pytest.mark.parametrize(
    ("inside", "remedy"),
    [
        ("generator.onnx", "the model in this folder is .*generator.onnx"),
        ("1/model.onnx", "the model in this folder is .*1/model.onnx"),
        ("recipe.json", "export its generator with: ganport export '.*a run'"),
    ],
)
def test_folder_is_rejected_with_the_path_of_the_model_in_it(tmp_path, inside, remedy):
    folder = tmp_path / "a run"
    (folder / inside).parent.mkdir(parents=True)
    (folder / inside).touch()
    with pytest.raises(ModelNotFoundError, match=remedy):
        Sampler(folder)


@pytest.mark.parametrize(
    "labels", [[[1], [1, 2]], [np.array(1), np.array([2])], [None, 1], [list(range(3000)), 1]]
)
def test_lists_of_values_that_are_not_labels_are_rejected(labels):
    with pytest.raises(LabelError) as caught:
        Sampler("mnist").sample([1, 2], labels=labels)
    assert len(str(caught.value)) < 200


def test_stream_takes_one_label_for_all_images():
    for labels in ([1, 2], np.array([1, 2])):
        with pytest.raises(UsageError, match="one label for all images"):
            Sampler("mnist").stream([1, 2], labels=labels)
        with pytest.raises(UsageError, match="one label for all images"):
            Sampler("mnist").walk([1, 2], labels=labels)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="the file that even root can't read")
def test_unreadable_file_is_rejected_with_the_reason():
    with pytest.raises(ModelNotFoundError, match="input/output error"):
        Sampler("/proc/self/mem")


def test_truncated_file_is_rejected_at_every_length(tiny_file, tmp_path):
    content = tiny_file.read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(0, len(content), 41):
        cut.write_bytes(content[:length])
        with pytest.raises((ModelFormatError, NotAGeneratorError)):
            Sampler(cut)


@pytest.mark.parametrize("content", [b"", b"\x08\x07", bytes(1000), b"\xff" * 1000])
def test_file_that_is_not_onnx_is_rejected(tmp_path, content, capfd):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        Sampler(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_onnx_file_that_leaves_its_layout_open_is_rejected(tmp_path):
    path = tmp_path / "third-party.onnx"
    path.write_bytes(tiny_model(metadata={}).SerializeToString())
    with pytest.raises(NotAGeneratorError):
        Sampler(path)


def test_contract_of_a_newer_format_is_rejected(tmp_path):
    path = tmp_path / "newer.onnx"
    text = tiny_contract().to_json().replace('"format": 1', f'"format": {FORMAT + 1}')
    path.write_bytes(tiny_model(metadata={"ganport": text}).SerializeToString())
    with pytest.raises(ContractVersionError):
        Sampler(path)


@pytest.mark.parametrize(
    "contract",
    [
        tiny_contract(dtype="uint8"),
        tiny_contract(batch=4),
        tiny_contract(input=runtime.InputSpec(kind="latent", name="z", dim=DIM, distribution="normal")),
        tiny_contract(
            input=runtime.InputSpec(kind="latent", name="latent", dim=DIM + 1, distribution="normal")
        ),
    ],
    ids=["dtype", "batch", "name", "dim"],
)
def test_contract_of_another_file_is_rejected(tmp_path, contract):
    path = tmp_path / "swapped.onnx"
    path.write_bytes(tiny_model(metadata={"ganport": contract.to_json()}).SerializeToString())
    with pytest.raises(ContractError, match="the contract promises"):
        Sampler(path)


def test_second_output_is_rejected(tmp_path):
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
        f"with Sampler({str(tiny_file)!r}, isolated=True) as isolated:\n"
        "    sys.stdout.buffer.write(isolated.sample(range(70)).tobytes())\n"
        "assert not {'runtime', 'ganport'} & set(sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert result.stdout == Sampler(tiny_file).sample(range(70)).tobytes() * 2


def seed_sampler(path, kind: str, batch: int | None, **spec) -> Sampler:
    """Write a model whose images have the seed as their brightness, and open the model.

    Args:
        path: Path of the file.
        kind: "seed" for a model that takes seeds, "fixed" for a model with fixed seeds.
        batch: Fixed batch size, or None for a dynamic one.
        **spec: Other fields of the contract's input.
    """
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
    source = runtime.InputSpec(
        kind=kind, name="seed" if inputs else "", dim=DIM, distribution="normal", **spec
    )
    helper.set_model_props(
        model, {"ganport": tiny_contract(dtype="uint8", batch=batch, input=source).to_json()}
    )
    path.write_bytes(model.SerializeToString())
    return Sampler(path)


@pytest.mark.parametrize("batch", [None, 4])
def test_generator_with_a_seed_input_gets_seeds(tmp_path, batch):
    sampler = seed_sampler(tmp_path / "x.onnx", "seed", batch)
    images = sampler.sample(range(70, 80))
    assert images.shape == (10, *SHAPE)
    assert images[:, 0, 0, 0].tolist() == list(range(70, 80))
    with pytest.raises(InputKindError, match="takes seeds"):
        sampler.sample_from_latents(np.zeros((1, DIM)))


def test_generator_with_fixed_seeds_gives_their_images_only(tmp_path):
    sampler = seed_sampler(tmp_path / "x.onnx", "fixed", 3, seeds=(9, 200, 4))
    assert sampler.sample([4, 9, 9])[:, 0, 0, 0].tolist() == [4, 9, 9]
    with pytest.raises(FixedSeedError, match="only the fixed seeds 9,200,4"):
        sampler.sample([4, 5])
    with pytest.raises(InputKindError, match="takes no input: its seeds and their labels are fixed"):
        sampler.sample_from_latents(np.zeros((1, DIM)))


def test_fixed_seeds_must_fill_the_batch(tmp_path):
    with pytest.raises(ContractError, match="one seed per image"):
        seed_sampler(tmp_path / "x.onnx", "fixed", 2, seeds=(9, 200, 4))


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model().SerializeToString())
    return path


def test_bytes_give_the_images_of_the_file(tiny):
    np.testing.assert_array_equal(Sampler(tiny.read_bytes()).sample(range(9)), Sampler(tiny).sample(range(9)))
    with pytest.raises(ModelFormatError, match="the model of 5 bytes"):
        Sampler(bytes(5))


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"threads": 2**40}, {"threads": "2"}, {"batch_size": 0}, {"batch_size": 1.5}]
)
def test_invalid_numbers_are_rejected(tiny, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Sampler(tiny, **options)


def test_fixed_batch_takes_no_batch_size(tmp_path):
    with pytest.raises(UsageError, match="generates 4 images per run; leave `batch_size` out"):
        Sampler(tiny_model(batch=4).SerializeToString(), batch_size=8)


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"batch_size": 1}, {"batch_size": 7}])
def test_threads_and_batch_size_do_not_change_the_images(tiny, options):
    np.testing.assert_array_equal(Sampler(tiny, **options).sample(range(20)), Sampler(tiny).sample(range(20)))


def test_truncation_scales_the_latents(tiny):
    sampler = Sampler(tiny)
    latents = sample_latents(np.arange(9), DIM)
    np.testing.assert_array_equal(
        sampler.sample(range(9), truncation=0.5), sampler.sample_from_latents(latents / 2)
    )
    assert len(np.unique(sampler.sample(range(9), truncation=0), axis=0)) == 1
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(UsageError, match="truncation"):
            sampler.sample([1], truncation=wrong)


@pytest.fixture(params=["uniform", "uniform01"])
def uniform(request):
    """A sampler of the tiny generator, whose contract says that its latents are uniform."""
    spec = runtime.InputSpec(kind="latent", name="latent", dim=DIM, distribution=request.param)
    return Sampler(tiny_model(metadata={"ganport": tiny_contract(input=spec).to_json()}).SerializeToString())


def test_uniform_latents_are_sampled_and_scaled_towards_their_mean(uniform):
    distribution = uniform.contract.input.distribution
    latents = sample_latents(range(9), DIM, distribution=distribution)
    np.testing.assert_array_equal(uniform.sample(range(9)), uniform.sample_from_latents(latents))
    mean = np.float32(0.5 if distribution == "uniform01" else 0)
    np.testing.assert_array_equal(
        uniform.sample(range(9), truncation=0.5), uniform.sample_from_latents((latents + mean) / 2)
    )
    average = uniform.sample_from_latents(np.full((1, DIM), mean))
    np.testing.assert_array_equal(uniform.sample([1], truncation=0), average)


def test_walk_between_uniform_latents_is_a_straight_line(uniform):
    distribution = uniform.contract.input.distribution
    latents = sample_latents([3, 1], DIM, distribution=distribution)
    points = [latents[0], latents.mean(axis=0), latents[1]]
    walk = np.concatenate(list(uniform.walk([3, 1], frames=2, loop=False)))
    np.testing.assert_array_equal(walk, uniform.sample_from_latents(points))
    mean = np.float32(0.5 if distribution == "uniform01" else 0)
    nearer = np.concatenate(list(uniform.walk([3, 1], frames=2, loop=False, truncation=0.5)))
    np.testing.assert_array_equal(nearer, uniform.sample_from_latents((points + mean) / 2))


def test_latents_that_are_not_finite_are_rejected(tiny):
    with pytest.raises(LatentValueError, match="2 of the latents"):
        Sampler(tiny).sample_from_latents(np.array([[0, np.nan, 0, np.inf, 0]]))


def test_stream_keeps_the_order_and_is_one_batch_ahead(tiny):
    sampler = Sampler(tiny, batch_size=4)
    taken = []

    def endless():
        for seed in itertools.count():
            taken.append(seed)
            yield seed

    stream = sampler.stream(endless())
    batches = [next(stream) for _ in range(3)]
    assert len(taken) == 16  # seeds of the three yielded batches, and of the next batch
    np.testing.assert_array_equal(np.concatenate(batches), sampler.sample(range(12)))
    stream.close()
    np.testing.assert_array_equal(np.concatenate(list(sampler.stream(range(10)))), sampler.sample(range(10)))


def test_stream_rejects_invalid_arguments(tiny):
    stream = Sampler(tiny, batch_size=2).stream([1, 2, -1])
    assert len(next(stream)) == 2
    with pytest.raises(SeedError):
        next(stream)
    with pytest.raises(SeedError, match="empty"):
        next(Sampler(tiny).stream([]))
    with pytest.raises(UsageError, match=r"`truncation` is '0\.5'; it must be a factor from 0 to 1"):
        Sampler(tiny).stream([1], truncation="0.5")
    with pytest.raises(LabelError):
        Sampler(tiny).stream([1], labels=7)


def test_walk_passes_through_its_seeds(tiny):
    sampler = Sampler(tiny, batch_size=4)
    ends = sampler.sample([3, 1, 2])
    loop = np.concatenate(list(sampler.walk([3, 1, 2], frames=5)))
    assert len(loop) == 15
    np.testing.assert_array_equal(loop[::5], ends)
    one_way = np.concatenate(list(sampler.walk([3, 1, 2], frames=5, loop=False)))
    assert len(one_way) == 11
    np.testing.assert_array_equal(one_way[::5], ends)
    nearer = np.concatenate(list(sampler.walk([3, 1, 2], frames=5, truncation=0.5)))
    np.testing.assert_array_equal(nearer[::5], sampler.sample([3, 1, 2], truncation=0.5))
    assert sum(map(len, sampler.walk([1, 2], frames=np.int8(100)))) == 200
    assert sum(map(len, sampler.walk([1, 2]))) == 30


@pytest.mark.parametrize(
    ("seeds", "options", "expected"),
    [
        ([1], {"frames": 5}, "a walk needs two or more"),
        ([1, 2], {"frames": 1.5}, r"`frames` is 1\.5; it must be a whole number from 1 to 16,777,216"),
        ([1, 2], {"frames": 2**70}, "`frames` is 1180591620717411303424"),
        ([1, 2], {"truncation": 2}, "`truncation` is 2"),
    ],
)
def test_walk_rejects_invalid_arguments(tiny, seeds, options, expected):
    with pytest.raises(UsageError, match=expected):
        Sampler(tiny).walk(seeds, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda file: Sampler(file, "cpu"),
        lambda file: Sampler(file).sample([1, 2], 1.0),
        lambda file: Sampler(file).sample_from_latents(np.zeros((2, DIM)), None),
        lambda file: Sampler(file).stream([1, 2], None),
        lambda file: Sampler(file).walk([1, 2], 5),
        lambda file: Sampler(file).grid([1, 2], None),
        lambda file: Sampler(file).model.opener(1),
    ],
    ids=["Sampler", "sample", "sample_from_latents", "stream", "walk", "grid", "opener"],
)
def test_options_are_keyword_only(tiny, call):
    with pytest.raises(TypeError, match="positional argument"):
        call(tiny)


def test_public_interface_is_small():
    public = {name for name in dir(Sampler("mnist")) if not name.startswith("_")}
    methods = {"sample", "sample_from_latents", "grid", "stream", "walk", "close", "of"}
    assert public == methods | {"contract", "model", "provider"}


def test_grid_shows_the_images_in_rows(tiny):
    sampler = Sampler(tiny)
    grid = sampler.grid([3, 1, 2, 7, 9], truncation=0.5)
    assert (grid.width, grid.height) == (3 * 4 + 2 * 2, 2 * 3 + 2)
    expected = runtime.make_grid(sampler.sample([3, 1, 2, 7, 9], truncation=0.5))
    np.testing.assert_array_equal(np.asarray(grid), expected[..., 0])
    assert sampler.grid().size == (8 * 4 + 7 * 2, 8 * 3 + 7 * 2)  # 64 images by default
    with pytest.raises(SeedError):
        sampler.grid([])


def test_grid_of_colour_images_with_labels_is_a_pillow_image():
    grid = Sampler("rock-paper-scissors").grid([5])
    assert grid.mode == "RGB"
    assert grid.size == (104, 104)


def test_repr_names_model_provider_shape_and_source(tiny):
    assert repr(Sampler(tiny)) == f"<Sampler of 'tiny' on cpu, 3x4x1 images, from {tiny}>"
    content = tiny.read_bytes()
    assert repr(Sampler(content)).endswith(f"from the model of {len(content):,} bytes>")
    forged = tiny_model(metadata={"ganport": tiny_contract(name="\x1b[2J\n").to_json()}).SerializeToString()
    assert repr(Sampler(forged)).isprintable()


def test_notebook_shows_the_first_images(tiny, tmp_path):
    sampler = Sampler(tiny)
    with Image.open(io.BytesIO(sampler._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(sampler.grid(range(16))))
    fixed = seed_sampler(tmp_path / "fixed.onnx", "fixed", 3, seeds=(9, 200, 4))
    with Image.open(io.BytesIO(fixed._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(fixed.grid()))
    sampler.close()
    assert sampler._repr_png_() is None


def test_sampler_of_an_open_model_shares_it(tiny):
    sampler = Sampler(tiny, batch_size=7)
    other = Sampler.of(sampler.model)
    assert other.model is sampler.model
    np.testing.assert_array_equal(other.sample(range(9)), sampler.sample(range(9)))


def test_opener_opens_the_same_model_with_its_options(tiny):
    sampler = Sampler(tiny, batch_size=7, threads=2)
    opener = pickle.loads(pickle.dumps(sampler.model.opener(threads=1)))
    tiny.unlink()
    model = opener()
    assert (model.threads, model.batch_size, model.provider) == (1, 7, "cpu")
    assert model.fingerprint() == opener().fingerprint()
    np.testing.assert_array_equal(Sampler.of(model).sample(range(9)), sampler.sample(range(9)))


def test_call_that_has_begun_is_finished_after_close(tiny):
    """If `close` is called during a call, the later batches of that call are still generated."""
    sampler = Sampler(tiny, batch_size=1)
    expected = sampler.sample(range(3))
    generate = sampler.model.generator()
    inputs = graph_inputs(sampler.contract, request_seeds(sampler.contract, [2]))
    sampler.close()
    np.testing.assert_array_equal(generate(inputs), expected[2:])
    with pytest.raises(ClosedSamplerError):
        sampler.model.generator()


def test_closed_sampler_is_an_error(tiny):
    with Sampler(tiny) as sampler:
        sampler.sample([1])
    with pytest.raises(ClosedSamplerError):
        sampler.sample([1])


def test_pickled_sampler_generates_the_same_images(tiny):
    for source in (tiny, tiny.read_bytes()):
        sampler = pickle.loads(pickle.dumps(Sampler(source, threads=1, batch_size=3)))
        assert sampler.model.threads == 1
        np.testing.assert_array_equal(sampler.sample(range(9)), Sampler(tiny).sample(range(9)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_sampler_works_in_parent_and_child_of_a_fork(tiny):
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
        results = list(pool.map(lambda _: sampler.sample(range(50)), range(200)))
    assert all((images == expected).all() for images in results)


def upsampler() -> bytes:
    """Return a third-party generator with a transposed convolution, whose batches are split among threads."""
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
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()


def test_split_batches_are_those_of_one_thread():
    model = upsampler()
    alone, split = (Sampler(model, threads=threads, layout="NCHW", batch_size=50) for threads in (1, 4))
    for count in (1, 2, 3, 4, 5, 49, 50, 51, 120):
        np.testing.assert_array_equal(split.sample(range(count)), alone.sample(range(count)))
    with ThreadPoolExecutor(8) as pool:
        for images in pool.map(lambda _: split.sample(range(30)), range(40)):
            np.testing.assert_array_equal(images, alone.sample(range(30)))


def test_images_that_exceed_memory_are_an_error_with_a_remedy(tiny_file, monkeypatch):
    def none_left(*_, **__):
        raise MemoryError

    sampler = Sampler(tiny_file, batch_size=2)
    monkeypatch.setattr(np, "empty", none_left)
    with pytest.raises(InferenceError, match=r"3 images take 0\.0 GB of memory; use stream\(\)"):
        sampler.sample_from_latents(np.zeros((3, DIM)))


def test_auto_uses_the_next_provider_if_the_fastest_rejects_the_model(tiny_file, monkeypatch):
    import onnxruntime

    def without_memory(model, provider, threads, *, repeatable=False, capture=True):
        if provider == "cuda":
            raise ProviderError("cuda", "it can't run tiny.onnx (out of memory)", "use the CPU")
        return open_session(model, provider, threads, repeatable=repeatable)

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr("ganport.runtime.providers._try_provider", lambda ort, provider: None)
    monkeypatch.setattr("ganport.runtime.model.open_session", without_memory)
    sampler = Sampler(tiny_file, provider="auto")
    assert sampler.provider == "cpu"
    assert sampler.model.passed_over == {"cuda": "it can't run tiny.onnx (out of memory)"}
    assert sampler.sample([7]).shape == (1, *SHAPE)
    with pytest.raises(ProviderError, match="out of memory"):
        Sampler(tiny_file, provider="cuda")


def test_values_that_are_not_finite_are_an_error(tmp_path):
    model = tiny_model("float32")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.array([np.nan] + [0] * 11, np.float32), "bias"))
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InferenceError, match=r"2 of 24 values are NaN or infinite"):
        Sampler(tmp_path / "x.onnx").sample([1, 2])


def test_latents_may_be_lists(tiny):
    sampler = Sampler(tiny)
    latents = [[0.5] * DIM, [0.0] * DIM]
    np.testing.assert_array_equal(
        sampler.sample_from_latents(latents), sampler.sample_from_latents(np.array(latents))
    )
    with pytest.raises(LatentShapeError):
        sampler.sample_from_latents([0.5] * DIM)


@pytest.mark.parametrize(
    "latents", [[["a"] * DIM], [[0.5], [0.5, 0.5]], [[None] * DIM], [[1j] * DIM], "latents"]
)
def test_latents_that_are_not_numbers_are_rejected(tiny, latents):
    with pytest.raises(UsageError, match="it must be numbers of shape"):
        Sampler(tiny).sample_from_latents(latents)


def test_open_sampler_does_not_depend_on_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("x.onnx")
    path.write_bytes(upsampler())
    expected = Sampler(path, threads=1, layout="NCHW").sample(range(5))
    changed, gone, elsewhere = (Sampler(path, threads=2, layout="NCHW") for _ in range(3))
    path.write_bytes(upsampler() + b"\x32\x01x")  # appends the field `doc_string`
    np.testing.assert_array_equal(changed.sample(range(5)), expected)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(elsewhere)).sample(range(5)), expected)
    (tmp_path / path).unlink()
    np.testing.assert_array_equal(gone.sample(range(5)), expected)
    with pytest.raises(ModelNotFoundError):
        pickle.loads(pickle.dumps(gone))


def test_stream_needs_an_iterable(tiny_file):
    with pytest.raises(SeedError, match="not a list of seeds"):
        next(Sampler(tiny_file).stream(5))


@pytest.mark.parametrize("largest", [10**9, 0], ids=["small", "large"])
def test_a_batch_is_generated_after_the_file_was_removed(tmp_path, monkeypatch, largest):
    """The second session, for batches of a model with ConvTranspose, is opened with the first batch."""
    monkeypatch.setattr(model_module, "_LARGEST_PRESERVED", largest)
    file = tmp_path / "removed.onnx"
    shutil.copy(PRETRAINED["mnist"], file)
    with Sampler(file, threads=2) as sampler:
        file.unlink()
        images = sampler.sample(range(6))
        np.testing.assert_array_equal(images[4], sampler.sample([4])[0])


def test_many_threads_may_ask_for_the_first_batch():
    with Sampler("mnist", threads=2) as sampler, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(sampler.sample, [range(6)] * 16))
    for images in results:
        np.testing.assert_array_equal(images, results[0])
