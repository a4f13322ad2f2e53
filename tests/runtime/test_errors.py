"""The tree of errors: drawn as it is, each leaf a builtin too, and able to travel between processes."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from ganport.runtime import errors

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.GanportError)]
LEAVES = [kind for kind in CLASSES if not kind.__subclasses__()]
BUILTINS = (ValueError, LookupError, OSError, ImportError, RuntimeError, ArithmeticError)

EXAMPLES = [
    errors.SeedError(-1, "is out of range"),
    errors.UnknownProviderError("tpu", ("cpu", "cuda")),
    errors.LabelError("blue", ("red", "green")),
    errors.EvaluationError("too few images"),
    errors.ClusterError("10.0.0.1:6379", "nobody is there"),
    errors.ListenError("127.0.0.1", 8000, "address already in use"),
    errors.WebError("npm is not installed", "install Node.js"),
    errors.LatentShapeError((3, 4), 100),
    errors.InputKindError("seed"),
    errors.FixedSeedError(9, range(20)),
    errors.MissingPackageError("onnxruntime", "drawing images", "cpu"),
    errors.ProviderError("cuda", "no library", "install it"),
    errors.DeviceError("gpu", "TensorFlow finds none", "train with --device cpu"),
    errors.OutputError(Path("x.png"), "no space left"),
    errors.ModelNotFoundError(Path("x.onnx")),
    errors.ModelFormatError(Path("x.onnx"), "the file is empty"),
    errors.InferenceError(Path("x.onnx"), "out of memory"),
    errors.NotAGeneratorError(Path("x.onnx"), "its input is a string"),
    errors.ContractError("image.dtype", "it is missing"),
    errors.ContractVersionError(2, 1),
    errors.DrawingError(Path("x.onnx"), "cuda", [0, 3]),
    errors.UnknownRecipeError("mnst", ("digits",)),
    errors.RecipeError("Recipe 'x': steps is 0; it must be at least 1."),
    errors.DatasetNotFoundError("mnist", "download it"),
    errors.DatasetContentError("folder", "no image in it"),
    errors.RunNotFoundError(Path("runs")),
    errors.RunExistsError(Path("runs/digits")),
    errors.RunInUseError(Path("runs/digits")),
    errors.CheckpointError(Path("runs/digits"), "there is none"),
    errors.DivergedError(300, {"d_loss": float("nan")}, 200),
    errors.GeneratorError("model.keras", "two inputs"),
    errors.LatentValueError(2),
    errors.ClosedSamplerError(),
    errors.PrecisionError("float16", "a weight is 1e+06"),
    errors.VerificationError("the largest difference", 0.5, 1e-4),
]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_is_a_builtin_too(kind):
    assert issubclass(kind, BUILTINS)


def test_every_leaf_has_an_example_below():
    assert {type(error) for error in EXAMPLES} >= set(LEAVES)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_is_one_line_and_survives_pickling(error):
    assert "\n" not in str(error)
    assert len(str(error)) > 30
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert repr(copy.__dict__) == repr(error.__dict__)


def test_drawing_shows_every_class_below_its_parent():
    drawn: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        match = re.search(r"[├└]── (\w+)", line)
        if match:
            drawn.append((match.start(), match[1]))
    parents = {}
    for index, (depth, name) in enumerate(drawn):
        above = [other for other in drawn[:index] if other[0] < depth]
        parents[name] = above[-1][1] if above else "GanportError"
    actual = {kind.__name__: kind.__mro__[1].__name__ for kind in CLASSES if kind is not errors.GanportError}
    assert parents == actual
