"""evaluate: from a model to a report, in the library and on the command line."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.datasets import load_images
from ganport.datasets.errors import DatasetNotFoundError
from ganport.evaluation import evaluate, load_reference, measure_images
from ganport.evaluation.comparison import METRICS
from ganport.evaluation.errors import EvaluationError, ImageShapeError, TooFewImagesError
from ganport.runtime import PRETRAINED, Sampler, save_png
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import FixedSeedError, ModelNotFoundError, SeedError, UsageError
from tests.conftest import ROOT, failure
from tests.tiny_generator import tiny_model

FIGURES = (*METRICS, "shares", "label_accuracy")


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("GANPORT_DATA", raising=False)


@pytest.fixture(scope="module")
def report():
    return evaluate("mnist", seeds="0-599")


@pytest.fixture(scope="module")
def idx_folder(tmp_path_factory, digits):
    """A folder for `data_dir` that holds the images of `digits` in the files of MNIST."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "mnist").mkdir()
    header = np.array([2051, 5000, 28, 28], ">i4").tobytes()
    (folder / "mnist" / "train-images-idx3-ubyte").write_bytes(header + digits.images.tobytes())
    return folder


@pytest.fixture
def tiny_path(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model("uint8").SerializeToString())
    return path


def test_a_pretrained_model_is_compared_with_the_set_that_it_was_trained_on(report):
    reference = load_reference("mnist")
    labels = reference.matching_labels(600)
    images = Sampler("mnist").sample(range(600), labels=labels)
    expected = measure_images(reference, images, labels=labels)
    for figure in FIGURES:
        assert getattr(report, figure) == pytest.approx(getattr(expected, figure), rel=1e-4), figure
    assert report.label_accuracy > 0.9
    assert (report.model, report.seeds, report.truncation, report.provider) == (
        "mnist.onnx",
        "0-599",
        1.0,
        "cpu",
    )
    assert report.sha256 == hashlib.sha256(PRETRAINED["mnist"].read_bytes()).hexdigest()
    assert report.notes == ()


def test_a_fresh_process_needs_no_tensorflow(report):
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'onnx', 'tf2onnx', 'typer', 'rich')))\n"
        "from ganport.evaluation.evaluating import evaluate\n"
        "print(repr(evaluate('mnist', seeds='0-599')))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{report!r}\n"


@pytest.mark.slow
def test_a_path_bytes_and_an_open_sampler_give_the_same_report(report):
    path = PRETRAINED["mnist"]
    steps = []
    with Sampler(path) as sampler:
        assert evaluate(sampler, seeds=range(600), progress=steps.append) == report
        assert sampler.sample([0]).shape == (1, 28, 28, 1)  # the sampler is still open
    assert steps == ["opening the model", "reading real images", "generating and measuring"]
    assert evaluate(path, seeds=np.arange(600)) == report
    assert evaluate(path.read_bytes(), seeds="0-599") == dataclasses.replace(report, model="")


@pytest.mark.slow
def test_a_dataset_of_a_public_set_stands_for_that_set(report, digits, idx_folder):
    assert evaluate("mnist", data=digits, seeds="0-599") == report
    mnist = load_images("mnist", data_dir=idx_folder)
    with_copies = evaluate("mnist", data=mnist, seeds="0-599")
    assert with_copies == evaluate("mnist", data_dir=idx_folder, seeds="0-599")
    assert with_copies.baseline["nearest_in_training"] == 1 / 3
    assert 0.2 < with_copies.nearest_in_training < 0.5


@pytest.mark.slow
def test_own_images_may_be_a_folder_a_file_or_a_dataset(tmp_path, digits):
    images = digits.images[::20]
    np.savez(tmp_path / "mine.npz", images=images)
    (tmp_path / "mine").mkdir()
    for index, image in enumerate(images):
        save_png(image, tmp_path / "mine" / f"{index:04}.png")
    of_file = evaluate("mnist", data=tmp_path / "mine.npz", seeds="0-124")
    assert of_file.data == "mine"
    assert of_file.network == "imagenet"
    assert of_file.label_accuracy is None
    assert of_file.notes == (
        "The model was trained on mnist, and it is compared with mine.",
        "The labels of the model are not those of mine. The images have each label in turn, and label "
        "accuracy is not measured.",
    )
    assert evaluate("mnist", data=str(tmp_path / "mine"), seeds="0-124") == of_file
    own = dataclasses.replace(digits, name="mine", images=images, labels=None, classes={})
    assert evaluate("mnist", data=own, seeds="0-124") == of_file


@pytest.mark.slow
def test_a_dataset_of_a_public_set_that_was_resized_counts_as_own_images(digits, tiny_path):
    resized = load_images("digits", image_size=8, channels=3)
    with pytest.raises(ImageShapeError, match="generates 3x4x1 images, and those of digits are 8x8x3"):
        evaluate(tiny_path, data=resized, seeds="0-599")
    cropped = dataclasses.replace(digits, images=digits.images[:1000, 12:15, 12:16], labels=None)
    assert evaluate(tiny_path, data=cropped, seeds="0-599").network == "imagenet"


def fixed_model(count):
    """Return a file that holds the images of the first seeds of `mnist`, with the contract of fixed seeds."""
    with Sampler("mnist") as sampler:
        images, contract = sampler.sample(range(count)), sampler.contract
    name = contract.image.name
    nodes = [helper.make_node("Identity", ["images"], [name])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, images.shape)]
    graph = helper.make_graph(nodes, "fixed", [], outputs, [numpy_helper.from_array(images, "images")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    fixed_input = dataclasses.replace(contract.input, kind="fixed", name="", seeds=tuple(range(count)))
    fixed = dataclasses.replace(
        contract, input=fixed_input, batch=count, golden={**contract.golden, "seeds": []}
    )
    helper.set_model_props(model, {METADATA_KEY: fixed.to_json()})
    return model.SerializeToString()


def test_a_file_with_fixed_seeds_is_evaluated_with_these():
    report = evaluate(fixed_model(600))
    assert report.seeds == "0-599"
    assert not report.labels_requested
    (note,) = report.notes
    assert note.startswith("The labels of the model's fixed seeds are equally frequent")
    with pytest.raises(FixedSeedError, match="Seed 600 is not available: the file has only the fixed seeds"):
        evaluate(fixed_model(600), seeds="1-600")
    with pytest.raises(TooFewImagesError, match="49 images, the fixed seeds of the model, are too few"):
        evaluate(fixed_model(49))


@pytest.mark.slow
def test_a_model_that_was_trained_on_the_real_images_is_noted():
    (note,) = evaluate("rock-paper-scissors", seeds="0-499").notes
    assert note.startswith("The model was trained on these real images of rock-paper-scissors. A copy")


def test_truncation_narrows_the_images(report):
    narrow = evaluate("mnist", seeds="0-599", truncation=0.5)
    assert narrow.truncation == 0.5
    assert narrow.recall < report.recall
    assert "truncation 0.5" in narrow.describe()


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"seeds": "0-9"}, TooFewImagesError, "10 images, one for each seed in `seeds`, are too few"),
        ({"seeds": range(49)}, TooFewImagesError, "49 images"),
        ({"seeds": "0-499,7"}, SeedError, "lists a seed twice"),
        ({"seeds": [*range(500), 7]}, SeedError, "lists a seed twice"),
        ({"seeds": "0-16384"}, SeedError, "lists 16,385 seeds, and the limit is 16,384"),
        ({"seeds": range(16_385)}, SeedError, "lists 16,385 seeds, and the limit is 16,384"),
        ({"seeds": "many"}, SeedError, "is not a seed or a range"),
        ({"seeds": 7}, SeedError, "is not a list of seeds"),
        ({"truncation": 1.5}, UsageError, "`truncation` is 1.5"),
        ({"data": "cats"}, DatasetNotFoundError, "No data set 'cats'; `data` takes mnist, fashion-mnist"),
        ({"data": ""}, DatasetNotFoundError, "No data set ''"),
        (
            {"data_dir": ROOT / "nowhere"},
            DatasetNotFoundError,
            "`data_dir` is .*nowhere, which is not a folder",
        ),
        (
            {"data_dir": ROOT / "docs"},
            DatasetNotFoundError,
            "`data_dir` is .*docs, which does not hold its",
        ),
        (
            {"data_dir": ROOT, "data": "rock-paper-scissors"},
            UsageError,
            "`data_dir` is .* possible for mnist and fashion-mnist",
        ),
        ({"provider": "tpu"}, UsageError, "'tpu' is unknown"),
        ({"layout": "NHWC"}, UsageError, "layout"),
    ],
)
def test_wrong_arguments_are_rejected_by_name(arguments, error, problem):
    with pytest.raises(error, match=problem):
        evaluate("mnist", **arguments)


def test_wrong_models_are_rejected(tiny_path, tmp_path):
    with pytest.raises(ModelNotFoundError, match="No model file at nosuch"):
        evaluate("nosuch")
    with pytest.raises(EvaluationError, match="give real images as `data`, or mnist, fashion-mnist"):
        evaluate(tiny_path)
    with pytest.raises(ImageShapeError, match="the images are 3x4x1, and those of mnist are 28x28x1"):
        evaluate(tiny_path, data="mnist")
    np.savez(tmp_path / "mine.npz", images=np.zeros((1000, 6, 8, 1), np.uint8))
    with pytest.raises(
        ImageShapeError, match="images, and those of mine are 6x8x1; give `data` of the same shape"
    ):
        evaluate(tiny_path, data=tmp_path / "mine.npz")
    np.savez(tmp_path / "few.npz", images=np.zeros((99, 3, 4, 1), np.uint8))
    with pytest.raises(TooFewImagesError, match=r"99 images in `data` \(few\)"):
        evaluate(tiny_path, data=tmp_path / "few.npz")
    with (
        Sampler("mnist") as sampler,
        pytest.raises(UsageError, match="`model` is a Sampler that is open on cpu"),
    ):
        evaluate(sampler, layout="NHWC")


def test_the_command_prints_the_report(ganport):
    result = ganport("evaluate", "mnist", "--seeds", "0-599")
    assert result.returncode == 0, result.stderr
    assert "baseline (real vs. real)" in result.stdout
    compared = (
        "600 images of mnist.onnx (seeds 0-599) are compared with 10,000 real images (the test split of"
    )
    assert compared in result.stdout
    assert result.stderr == ""


def test_the_command_prints_the_report_as_json(ganport, report):
    found = json.loads(ganport("evaluate", "mnist", "--seeds", "0-599", "--json").stdout)
    assert found == json.loads(json.dumps(report.to_dict()))


def test_the_command_prints_notes_to_stderr(ganport):
    result = ganport(
        "evaluate", "mnist", "--seeds", "0-599", "--data", "fashion-mnist", "--truncation", "0.5"
    )
    assert result.returncode == 0, result.stderr
    assert "The model was trained on mnist, and it is compared with fashion-mnist." in result.stderr
    assert "truncation 0.5" in result.stdout


def test_the_command_names_its_options_in_errors(ganport, tiny_path):
    line = failure(ganport("evaluate", "mnist", "--seeds", "0-9"))
    assert "one for each seed in --seeds, are too few" in line
    assert "lists a seed twice" in failure(ganport("evaluate", "mnist", "--seeds", "0-499,7"), 2)
    assert "No data set 'cats'; --data takes mnist" in failure(ganport("evaluate", "mnist", "--data", "cats"))
    assert "give real images as --data, or mnist" in failure(ganport("evaluate", tiny_path))
    line = failure(ganport("evaluate", "rock-paper-scissors", "--data-dir", "."), 2)
    assert "--data-dir is .; it is for finding copies of training images" in line
