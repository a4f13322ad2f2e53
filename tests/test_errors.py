"""The tree of all errors of ganport, which docs/errors.md shows. Each leaf also derives from a builtin."""

import builtins
import importlib
import inspect
import pickle
import re
import signal
from pathlib import Path
from types import ModuleType

import pytest

from ganport.cluster import errors as cluster
from ganport.datasets import errors as datasets
from ganport.evaluation import errors as evaluation
from ganport.export import errors as export
from ganport.runtime import errors as runtime
from ganport.runtime.errors import GanportError
from ganport.server import errors as server
from ganport.trainer import errors as trainer
from ganport.web import errors as web
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "errors.md"
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/errors.py"))
MODULES = {package: importlib.import_module(f"ganport.{package}.errors") for package in PACKAGES}


def defined_in(module: ModuleType) -> list[type[BaseException]]:
    """Return the exceptions that a module defines itself."""
    classes = (value for _, value in inspect.getmembers(module, inspect.isclass))
    return [
        each for each in classes if each.__module__ == module.__name__ and issubclass(each, BaseException)
    ]


PACKAGE_OF = {kind: package for package, module in MODULES.items() for kind in defined_in(module)}
CLASSES = [kind for kind in PACKAGE_OF if issubclass(kind, GanportError)]
LEAVES = [kind for kind in CLASSES if not kind.__subclasses__()]
BUILTINS = tuple(
    kind
    for kind in vars(builtins).values()
    if inspect.isclass(kind) and issubclass(kind, Exception) and kind is not Exception
)

EXAMPLES = [
    runtime.UsageError("`threads` is 0; it must be a whole number from 1 to 1,024."),
    runtime.SeedError(-1, "is out of range"),
    runtime.LabelError("blue", ("red", "green")),
    runtime.UnknownProviderError("tpu", ("cpu", "cuda")),
    runtime.LatentShapeError((3, 4), 100),
    runtime.LatentValueError(2),
    runtime.InputKindError("seed"),
    runtime.FixedSeedError(9, range(20)),
    runtime.ClosedSamplerError(),
    runtime.MissingPackageError("onnxruntime", "generating images", "cpu"),
    runtime.ProviderError("cuda", "no library", "install it"),
    runtime.OutputError(Path("x.png"), "no space left"),
    runtime.ModelNotFoundError(Path("x.onnx")),
    runtime.ModelFormatError(Path("x.onnx"), "the file is empty"),
    runtime.ModelFormatError(b"hello", "the file is empty"),
    runtime.IsolationError(Path("x.onnx"), "time", "it took more than 60 s for opening the file"),
    runtime.ModelTooLargeError(Path("x.onnx"), "operations in the file", 20_000, 16_384),
    runtime.UnsupportedModelError(Path("x.onnx"), "it is a web page", "download the file itself"),
    runtime.NotAGeneratorError(Path("x.onnx"), "its input is a string"),
    runtime.InferenceError(Path("x.onnx"), "out of memory"),
    runtime.GoldenMismatchError(Path("x.onnx"), "cuda", [0, 3]),
    runtime.DescriptionMismatchError(Path("x.json"), "'input'"),
    runtime.ContractError("image.dtype", "it is missing"),
    runtime.ContractVersionError(3, 2),
    datasets.DatasetNotFoundError("mnist", "download it"),
    datasets.DatasetContentError("folder", "it holds no image"),
    datasets.NoImagesError("folder", "give a folder of images."),
    datasets.UnreadableImagesError(Path("photos"), {"a.png": "the file is empty"}, 9),
    datasets.DuplicateImagesError("photos", 9),
    datasets.BlankImagesError("photos", 9),
    datasets.SmallClassError("photos", ["rock"]),
    evaluation.EvaluationError("`seeds` is empty"),
    evaluation.TooFewImagesError(3, 600, "generated images"),
    evaluation.ImageShapeError((28, 28, 1), "the images have shape 28x28x1, the real ones 32x32x1"),
    trainer.UnknownRecipeError("mnst", ("digits",)),
    trainer.UnknownSettingError("lss", ("loss",)),
    trainer.NotEnoughMemoryError((512, 512, 3), 32, 9_000_000_000, 8_000_000_000),
    trainer.UnknownStartError("faces", ("photos",)),
    trainer.UnknownStartError("faces", (), Path("runs/faces")),
    trainer.RecipeError("Recipe 'x': `steps` is 0; it must be at least 1."),
    trainer.DeviceError("gpu", "TensorFlow finds none", "use `device='cpu'`"),
    trainer.RunNotFoundError(Path("runs")),
    trainer.RunExistsError(Path("runs/digits")),
    trainer.RunInUseError(Path("runs/digits")),
    trainer.CheckpointError(Path("runs/digits"), "there is none"),
    trainer.MixedRunError(Path("runs/digits"), ["data.json", "run.json"], "is of another run", "remove it"),
    trainer.RunVersionError(Path("runs/digits"), "9.0"),
    trainer.LayerMismatchError("runs/a", "the layer dense", "a kernel of 4x4", "no weights", "give other"),
    trainer.DivergedError(300, {"d_loss": float("nan")}, 200),
    export.SourceNotFoundError(Path("model.keras")),
    export.GeneratorError("model.keras", "it has two inputs"),
    export.KerasBackendError("jax"),
    export.PrecisionError("float16", "a weight is 1e+06"),
    export.TargetError("portable", "the graph has the operator Softmax", "leave `target` out"),
    export.UnsupportedOperatorError("Einsum", "a MatMul has C code"),
    export.SourceSizeError(310, 64, "float32"),
    export.VerificationError("the largest difference", 0.5, 1e-4),
    server.ListenError("127.0.0.1", 8000, "address already in use"),
    server.QueueFullError(5_000, 2),
    server.TooManyImagesError(1_024, 40.0, 30.0),
    server.TimedOutError(30.0),
    server.TensorError("The tensor `seeds` has shape (2, 2); it must have one dimension."),
    server.BodyError("it is not valid JSON"),
    server.NoImageError("7.exe", ".png, .webp, .jpg"),
    server.OtherModelError("0123abcd"),
    web.WebError("npm is not installed", "install Node.js"),
    cluster.ClusterError("10.0.0.1:6379", "it does not answer"),
]


def test_every_package_is_in_the_tree():
    assert {"runtime", "datasets", "evaluation", "trainer", "export", "server", "web", "cluster"} <= set(
        PACKAGES
    )
    assert len(CLASSES) > 35


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_is_a_builtin_too(kind):
    assert issubclass(kind, BUILTINS)


def test_every_leaf_has_an_example_above():
    assert {type(error) for error in EXAMPLES} >= set(LEAVES)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_is_one_line_and_survives_pickling(error):
    assert "\n" not in str(error)
    assert len(str(error)) > 30
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert repr(copy.__dict__) == repr(error.__dict__)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_keeps_its_facts_as_attributes(error):
    constructor = type(error).__init__
    if inspect.isfunction(constructor) and len(inspect.signature(constructor).parameters) > 1:
        assert error.__dict__


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_of_the_library_names_no_option_of_a_command(error):
    without_command = re.sub(r"(run|with): ganport .*", "", str(error))
    assert not re.search(r"(?<![\w-])--[a-z]", without_command)


def test_interrupted_training_is_a_keyboard_interrupt():
    error = trainer.TrainingInterrupted(Path("runs/digits"), 300, signal.SIGTERM)
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
    assert (error.step, error.signal) == (300, signal.SIGTERM)


LINE = re.compile(r"([│ ]*[├└]── )(\w+)(?: \((\w+)\))?(.*)")


def read_tree(text: str) -> dict[str, tuple[str, str | None, str]]:
    """Return the parent, the builtin and the remaining text of each class in a tree of text."""
    shown: dict[str, tuple[str, str | None, str]] = {}
    above: list[tuple[int, str]] = []  # columns and names of the ancestors of a line, starting with the root
    for line in text.splitlines():
        if re.fullmatch(r" *\w+", line):
            above = [(-1, line.strip())]
        elif match := LINE.search(line):
            column = match.start(2)
            above = [(other, name) for other, name in above if other < column]
            shown[match[2]] = (above[-1][1], match[3], match[4].strip())
            above.append((column, match[2]))
    return shown


def parent_of(kind: type[BaseException]) -> str:
    return kind.__mro__[1].__name__


def builtin_of(kind: type[BaseException]) -> str | None:
    """Return the builtin that a class adds to those of its parent."""
    names = [base.__name__ for base in kind.__bases__[1:] if base in BUILTINS]
    assert len(names) <= 1
    return names[0] if names else None


def test_page_shows_every_class_below_its_parent():
    shown = read_tree(PAGE.read_text())
    existing = {kind.__name__: kind for kind in CLASSES if kind is not GanportError}
    assert list(shown.keys() - existing.keys()) == []
    assert list(existing.keys() - shown.keys()) == []
    for name, (parent, builtin, rest) in shown.items():
        kind = existing[name]
        assert (name, parent, builtin) == (name, parent_of(kind), builtin_of(kind))
        package, meaning = re.fullmatch(r"(\w+)  +(.+)", rest).groups()
        assert (name, package) == (name, PACKAGE_OF[kind])
        assert len(meaning) > 10


def test_page_names_the_exceptions_outside_of_the_tree():
    others = [kind for kind in PACKAGE_OF if not issubclass(kind, GanportError)]
    assert [kind.__name__ for kind in others] == ["TrainingInterrupted"]
    for kind in others:
        assert f"`{kind.__name__}`" in PAGE.read_text()


@pytest.mark.parametrize(
    "package", [name for name, module in MODULES.items() if "├──" in (module.__doc__ or "")]
)
def test_tree_in_a_docstring_shows_the_classes_of_the_module(package):
    shown = read_tree(MODULES[package].__doc__)
    own = {kind.__name__: kind for kind in defined_in(MODULES[package])}
    assert {name for name in own if own[name] is not GanportError} <= shown.keys()
    for name, (parent, builtin, meaning) in shown.items():
        kind = own.get(name) or getattr(runtime, name)
        assert (name, parent) == (name, parent_of(kind))
        if name in own and issubclass(kind, GanportError):
            assert (name, builtin) == (name, builtin_of(kind))
            assert meaning or kind.__subclasses__()


def test_tree_of_the_runtime_exists():
    assert "├──" in runtime.__doc__


def test_reader_returns_parents_builtins_and_texts():
    """`read_tree` returns what the other tests of this module compare."""
    text = "GanportError\n├── A (ValueError)  one\n│   └── B  two\n└── C\n    └── D (OSError)   three\n"
    assert read_tree(text) == {
        "A": ("GanportError", "ValueError", "one"),
        "B": ("A", None, "two"),
        "C": ("GanportError", None, ""),
        "D": ("C", "OSError", "three"),
    }


def test_examples_on_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        exec(example, {})
    assert "No model file at missing.onnx" in capsys.readouterr().out
