"""`ganport.train`: its return value, the events of callbacks, and arguments that are rejected."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import ganport
from ganport.datasets.errors import DatasetNotFoundError
from ganport.runtime.errors import MissingPackageError, ModelNotFoundError, UsageError
from ganport.trainer.arguments import TrainingArguments
from ganport.trainer.callbacks import Callback
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.errors import (
    CheckpointError,
    RecipeError,
    RunExistsError,
    RunNotFoundError,
    TrainingInterrupted,
    UnknownRecipeError,
    UnknownSettingError,
)
from ganport.trainer.plan import plan_training
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.settings import change_recipe
from tests.conftest import ROOT


class Recorder(Callback):
    """Records the names of the events and the arguments of the last one of each name."""

    def __init__(self):
        self.events, self.last = [], {}
        for name in ("stage", "start", "steps", "log", "checkpoint", "warning", "end"):
            setattr(self, f"on_{name}", lambda *arguments, name=name: self.record(name, arguments))

    def record(self, name, arguments):
        self.events.append(name)
        self.last[name] = arguments


@pytest.fixture
def squares(tmp_path):
    """A folder with 24 images of 12x12 in two sub-folders."""
    rng = np.random.default_rng(0)
    for index in range(24):
        path = tmp_path / "squares" / ("left" if index % 2 else "right") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12)).astype(np.uint8)).save(path)
    return tmp_path / "squares"


BFLOAT16 = {"amx_bf16", "avx512_bf16"}
CPU_INFO = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
SHORT = {"steps": 6, "batch_size": 4, "preview_interval": 3}


def test_train_returns_a_run(tmp_path, squares):
    recorder = Recorder()
    recipe = dataclasses.replace(load_recipe("mnist-minimal"), jit=False)
    run = ganport.train(recipe, data=squares, out=tmp_path / "run", callbacks=[recorder], **SHORT)
    assert run == ganport.Run(tmp_path / "run")
    assert run.step == 6
    assert [line["step"] for line in run.history] == [3, 3, 6, 6]
    assert {"d_loss", "g_loss", "d_accuracy"} < set(run.history[0])
    assert run.recipe == dataclasses.replace(recipe, dataset="squares", image_shape=(12, 12, 1), **SHORT)
    assert run.preview().size == run.preview(3).size == (8 * 14 - 2, 8 * 14 - 2)
    assert run._repr_png_() == RunFolder(run.path).preview_file(6).read_bytes()
    assert re.fullmatch(
        r"<Run '.*run' of 'mnist-minimal', step 6 of 6, distance [\d.]+>",
        repr(run),
    )
    with pytest.raises(CheckpointError, match="no preview of `step` 5; steps with a preview: 3, 6"):
        run.preview(5)
    with pytest.raises(ModelNotFoundError, match=r"call `ganport\.export\(run\)` first"):
        run.sampler()


def test_callbacks_receive_the_events_in_order(tmp_path, squares):
    recorder = Recorder()
    recipe = dataclasses.replace(load_recipe("mnist-minimal"), jit=False)
    ganport.train(recipe, data=squares, out=tmp_path / "run", callbacks=[recorder], **SHORT)
    assert recorder.events[:4] == ["stage", "stage", "start", "steps"]
    assert recorder.events[-3:] == ["log", "checkpoint", "end"]
    assert recorder.events.count("checkpoint") == 2
    (start,) = recorder.last["start"]
    assert (start.recipe.name, start.data.name, start.device) == ("mnist-minimal", "squares", "CPU")
    step, preview, measures = recorder.last["checkpoint"]
    assert (step, preview.dtype, set(measures)) == (6, np.uint8, {"distance", "growth"})
    assert recorder.last["steps"][0] == recorder.last["log"][0] == 6


def build_generator(latent_dim, image_shape):
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            keras.layers.Dense(image_shape[0] * image_shape[1], activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Reshape(image_shape),
        ]
    )


def build_discriminator(image_shape):
    return keras.Sequential(
        [keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    )


@pytest.fixture
def own_recipe():
    """A recipe as made in a notebook, with the name of a recipe of ganport."""
    adam = ganport.Optimizer(name="adam", learning_rate=1e-3)
    return ganport.Recipe(
        name="digits",
        dataset="squares",
        image_shape=(12, 12, 1),
        latent_dim=8,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        ema_decay=0.9,
        jit=False,
        build_generator=build_generator,
        build_discriminator=build_discriminator,
        **SHORT,
    )


def test_recipe_from_memory_trains_and_resumes_bit_identical(tmp_path, squares, own_recipe):
    whole = ganport.train(own_recipe, data=squares, out=tmp_path / "whole")
    stopped = ganport.train(own_recipe, data=squares, out=tmp_path / "stopped")
    RunFolder(stopped.path).checkpoint_file(6).unlink()
    ganport.train(own_recipe, out=tmp_path / "stopped", resume=True)
    assert_same_checkpoint(whole, stopped, 6)


@pytest.mark.slow
def test_networks_of_a_recipe_from_memory_are_rebuilt_without_their_code(tmp_path, squares, own_recipe):
    """Another process, without the functions above, resumes the run and loads its generator."""
    options = {"data": squares, "mixed_precision": "on"}
    whole = ganport.train(own_recipe, out=tmp_path / "whole", **options)
    stopped = ganport.train(own_recipe, out=tmp_path / "stopped", **options)
    RunFolder(stopped.path).checkpoint_file(6).unlink()
    code = f"import ganport; ganport.train(out={str(stopped.path)!r}, resume=True)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    assert_same_checkpoint(whole, stopped, 6)
    rebuilt = RunFolder(stopped.path).load_recipe()
    assert rebuilt == whole.recipe
    assert rebuilt.build_generator is not build_generator
    weights = load_generator(RunFolder(stopped.path)).get_weights()
    expected = keras.models.load_model(RunFolder(whole.path).keras_file).get_weights()
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_auto_chooses_the_faster_precision_and_saves_the_choice(tmp_path, squares, own_recipe, jit):
    recipe = dataclasses.replace(own_recipe, jit=jit, steps=2)
    run = ganport.train(recipe, data=squares, mixed_precision="auto", out=tmp_path / "run", device="cpu")
    expected = not jit and not BFLOAT16.isdisjoint(CPU_INFO.split())
    assert run.recipe.mixed_precision is expected


def constant(recipe):
    """Return a recipe whose learning rates do not decay."""
    return change_recipe(recipe, {"decay": "none"})


@pytest.mark.slow
def test_run_that_is_resumed_with_more_steps_equals_a_longer_run(tmp_path, squares, own_recipe):
    """Without a decay the schedule has no influence, so both runs end with the same weights."""
    recipe = constant(own_recipe)
    whole = ganport.train(recipe, data=squares, steps=10, out=tmp_path / "whole")
    run = ganport.train(recipe, data=squares, out=tmp_path / "run")
    assert (run.step, run.recipe.steps) == (6, 6)
    again = ganport.train(run, resume=True, steps=10)
    assert (again.step, again.recipe.steps) == (10, 10)
    assert_same_checkpoint(whole, again, 10)
    assert {"step": 6, "steps": 10} in again.history
    assert not any("steps" in line for line in whole.history)


@pytest.mark.slow
def test_run_can_end_at_the_step_that_it_has_reached(tmp_path, squares, own_recipe):
    run = ganport.train(own_recipe, data=squares, out=tmp_path / "run")
    RunFolder(run.path).checkpoint_file(6).unlink()
    RunFolder(run.path).keras_file.unlink()
    done = ganport.train(run, resume=True, steps=3)
    assert (done.step, done.recipe.steps) == (3, 3)
    assert RunFolder(run.path).keras_file.exists()
    with pytest.raises(UsageError, match=re.escape("`steps` is 2, and")) as caught:
        ganport.train(run, resume=True, steps=2)
    assert "has already made 3; give at least 3" in str(caught.value)
    assert ganport.Run(run.path).recipe.steps == 3


def test_title_is_saved_in_the_run(tmp_path, squares, own_recipe):
    run = ganport.train(own_recipe, data=squares, title="My squares", out=tmp_path / "run")
    assert run.recipe.title == "My squares"
    assert run.recipe.name == "digits"


def assert_same_checkpoint(one, other, step):
    first, second = (RunFolder(run.path).checkpoint_file(step) for run in (one, other))
    with np.load(first) as a, np.load(second) as b:
        for ours, theirs in zip(a.files, b.files, strict=True):
            if ours == theirs == "run/networks.json":
                continue  # a process numbers the layers that it builds, so their names differ
            np.testing.assert_array_equal(a[ours], b[theirs], err_msg=ours)


def test_recipe_from_memory_whose_layers_keras_cant_rebuild_is_rejected(tmp_path, squares, own_recipe):
    class Scale(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    def build(latent_dim, image_shape):
        model = build_generator(latent_dim, image_shape)
        model.add(Scale())
        return model

    recipe = dataclasses.replace(own_recipe, build_generator=build)
    with pytest.raises(RecipeError, match=r"can't rebuild its networks.*write the recipe to a file"):
        ganport.train(recipe, data=squares, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_interrupt_saves_the_run_and_raises(tmp_path, squares, own_recipe):
    class Interrupt(Callback):
        def on_steps(self, step, metrics, images_per_second):
            os.kill(os.getpid(), signal.SIGTERM)

    recipe = dataclasses.replace(own_recipe, steps=1000)
    with pytest.raises(TrainingInterrupted, match=r"SIGTERM.*ganport\.train\(out=.*resume=True\)") as caught:
        ganport.train(recipe, data=squares, out=tmp_path / "run", callbacks=[Interrupt()])
    stop = caught.value
    assert stop.signal == signal.SIGTERM
    assert ganport.Run(stop.path).step == stop.step > 0
    assert isinstance(stop, KeyboardInterrupt)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (["nosuch"], {}, UnknownRecipeError, "Recipe 'nosuch' is unknown; choose one of digits"),
        ([""], {}, UnknownRecipeError, "Recipe '' is unknown"),
        (["nowhere/photos"], {}, UnknownRecipeError, "or of a folder of images"),
        (["nosuch.py"], {}, UnknownRecipeError, "no recipe file 'nosuch.py'"),
        (
            ["squares"],
            {"data": "digits"},
            UsageError,
            "`recipe` is the folder squares, and `data` is given too",
        ),
        (["run"], {}, RunExistsError, "run already holds a run; continue it with `resume=True`"),
        ([], {"out": "run"}, RunExistsError, "or choose another `out`"),
        (["squares"], {"resume": True}, RunNotFoundError, "No run in squares"),
        (
            ["run"],
            {"resume": True, "out": "other"},
            UsageError,
            "`recipe` is the folder run, and `out` is given too",
        ),
        (["mine.py"], {"resume": True, "out": "run"}, UsageError, "leave out the recipe file"),
        (
            ["mnist-dense"],
            {"resume": True, "out": "run"},
            UsageError,
            "a run of digits, not of mnist-dense",
        ),
        (["nosuch"], {"resume": True, "out": "run"}, UnknownRecipeError, "nosuch"),
        ([], {"resume": True}, RunNotFoundError, "No run in runs"),
        ([], {"resume": True, "out": "nowhere"}, RunNotFoundError, "No run in nowhere"),
        (
            [],
            {"resume": True, "steps": 5, "mixed_precision": "on", "settings": {"loss": "hinge"}},
            UsageError,
            "leave out `mixed_precision`, `settings`. `resume` can be combined with `steps`, `out`, `device`",
        ),
        ([], {"settings": {"lss": "hinge"}}, UnknownSettingError, "did you mean one of: loss"),
        ([], {"settings": {"loss": "hing"}}, RecipeError, "`loss` is 'hing'; it must be one of"),
        ([], {"settings": {"image_shape": (8, 8, 1)}}, UsageError, "`image_size` and `channels`"),
        ([], {"title": "two\nlines"}, RecipeError, "`title` is 'two\\nlines'; it must be one line of text"),
        ([], {"steps": 0}, UsageError, "`steps` is 0; it must be a whole number of at least 1"),
        ([], {"batch_size": 2.5}, UsageError, "`batch_size` is 2.5"),
        ([], {"image_size": 4}, UsageError, "`image_size` is 4; both sides must have at least 8"),
        ([], {"channels": 2}, UsageError, "`channels` is 2; it must be 1 for grey, 3 for colour"),
        ([], {"mixed_precision": True}, UsageError, "`mixed_precision` is True; it must be one of auto, on,"),
        ([], {"device": "tpu"}, UsageError, "`device` is 'tpu'; it must be one of auto, cpu, gpu"),
        ([], {"devices": 0}, UsageError, "`devices` is 0"),
        ([], {"data": "nowhere"}, DatasetNotFoundError, "No data set 'nowhere'"),
        (["digits"], {"as_published": True}, RecipeError, "follows no description"),
    ],
)
def test_wrong_arguments_are_rejected(tmp_path, squares, monkeypatch, arguments, options, error, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(RECIPE_JSON)
    with pytest.raises(error, match=re.escape(words)):
        ganport.train(*arguments, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "squares"]


RECIPE_JSON = json.dumps(load_recipe("digits").to_dict())


def test_recipe_without_networks_is_rejected():
    recipe = dataclasses.replace(load_recipe("digits"), build_generator=None)
    with pytest.raises(RecipeError, match="`build_generator` and `build_discriminator`"):
        plan_training(recipe)


def test_missing_tensorflow_gives_the_install_line(tmp_path):
    code = "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras'))); import ganport\n"
    code += "try: ganport.train(steps=1)\nexcept ImportError as error: print(type(error).__name__, error)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert MissingPackageError.__name__ in result.stdout
    assert "pip install 'ganport[train]'" in result.stdout
    assert not list(tmp_path.iterdir())


def test_plan_fits_the_recipe_to_the_images(squares):
    plan = plan_training("digits", TrainingArguments(data=squares, steps=5, batch_size=4))
    assert (plan.recipe.dataset, plan.recipe.image_shape, plan.recipe.steps) == ("squares", (12, 12, 1), 5)
    assert plan.recipe.labels == ("left", "right")
    assert plan.data.count == 24
    assert plan.load() is plan


def test_plan_of_a_recipe_on_its_own_data_does_not_read_it():
    plan = plan_training("mnist-dense", TrainingArguments(as_published=True, steps=7))
    assert plan.data is None
    assert plan.recipe == dataclasses.replace(load_recipe("mnist-dense", as_published=True), steps=7)


OLD_RECIPE = textwrap.dedent(
    '''
    """A recipe of an earlier version."""
    from trainer.recipe import Recipe, Optimizer
    '''
)


@pytest.mark.parametrize("is_clone", [pytest.param(True, marks=pytest.mark.slow), False])
def test_old_import_in_a_recipe_file_is_an_error_with_the_new_import(tmp_path, is_clone):
    """In a clone, `import trainer` would import a second copy of the package. Elsewhere it does not exist."""
    (tmp_path / "old.py").write_text(OLD_RECIPE)
    if is_clone:
        command, environment = [sys.executable, str(ROOT / "cli.py")], os.environ.copy()
    else:
        linked = tmp_path / "site"
        linked.mkdir()
        (linked / "ganport").symlink_to(ROOT / "typings" / "ganport")
        command, environment = [sys.executable, "-m", "ganport"], os.environ | {"PYTHONPATH": str(linked)}
    result = subprocess.run(
        [*command, "train", "old.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "error: old.py, line 3: `from trainer.recipe import Recipe, Optimizer` uses the former name of a "
        "package; write `from ganport import Optimizer, Recipe`.\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from trainer.recipe import Recipe as R", "from ganport import Recipe as R"),
        ("from trainer.recipes import mnist_dcgan", "from ganport.trainer.recipes import mnist_dcgan"),
        ("import runtime.seeds, math", "import ganport.runtime.seeds, math"),
    ],
)
def test_errors_of_old_imports_show_the_new_import(tmp_path, old, new):
    (tmp_path / "old.py").write_text(old)
    expected = f"line 1: `{old}` uses the former name of a package; write `{new}`"
    with pytest.raises(RecipeError, match=re.escape(expected)):
        load_recipe(tmp_path / "old.py")


def test_package_of_the_user_may_have_such_a_name(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "server.py").write_text("width = 3")
    (tmp_path / "mine.py").write_text("import server\nraise ValueError(server.width)")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setitem(sys.modules, "server", None)
    del sys.modules["server"]
    with pytest.raises(RecipeError, match="line 2: ValueError: 3"):
        load_recipe(tmp_path / "mine.py")
    del sys.modules["server"]


def test_functions_of_a_recipe_file_take_precedence_over_inherited_ones(tmp_path):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import dataclasses
            from ganport.trainer.recipes import load_recipe

            def build_discriminator(image_shape, classes=1):
                return "mine"

            RECIPE = dataclasses.replace(load_recipe("digits"), name="mine")
            """
        )
    )
    recipe = load_recipe(tmp_path / "mine.py")
    assert recipe.build_discriminator((28, 28, 1)) == "mine"
    assert recipe.build_generator is load_recipe("digits").build_generator
