"""`ganport.train(start_from=RUN)`: a run that starts from the weights of another run."""

import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganport as front_door
from ganport.datasets.survey import survey_source
from ganport.export.sources import load_source
from ganport.runtime.errors import UsageError
from ganport.trainer.arguments import TrainingArguments
from ganport.trainer.callbacks import Callback
from ganport.trainer.checkpoints import load_checkpoint, load_newest_checkpoint
from ganport.trainer.errors import (
    CheckpointError,
    LayerMismatchError,
    RunNotFoundError,
    UnknownStartError,
)
from ganport.trainer.loop import run_training
from ganport.trainer.networks import build_networks
from ganport.trainer.proposal import propose
from ganport.trainer.recipes import load_recipe
from ganport.trainer.recipes.images import build_discriminator, build_generator
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run
from ganport.trainer.start_weights import (
    check_fit,
    describe_origin,
    find_start,
    load_start_weights,
    read_start,
    record_start,
)
from ganport.trainer.training import resolve_plan
from tests.conftest import ROOT, failure
from tests.trainer.conftest import load_squares, one_device

FAST = {"batch_size": 8, "evaluate_interval": 0, "mixed_precision": "off"}


class Messages(front_door.Callback):
    """A callback that keeps notes and warnings."""

    def __init__(self):
        self.notes, self.warnings = [], []

    def on_note(self, line):
        self.notes.append(line)

    def on_warning(self, message):
        self.warnings.append(message)


def write_images(folder, shape=(16, 24, 3), folders=(".",), count=60):
    rng = np.random.default_rng(len(folders))
    for index in range(count):
        path = folder / folders[index % len(folders)] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8).squeeze()).save(path)
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A run of the recipe `images`, whose networks have BatchNormalization, on images of 8x12 in colour."""
    folder = tmp_path_factory.mktemp("faces")
    photos = write_images(folder / "photos", (8, 12, 3))
    settings = {"latent_dim": 16}
    return front_door.train(
        photos, out=folder / "run", steps=3, preview_interval=2, settings=settings, **FAST
    )


def weights_of(run):
    return load_start_weights(find_start(run.path))


def started(tmp_path, recipe, source, data=None, name="started"):
    """Return a new run on the squares that starts from another run, and was not trained."""
    run = RunFolder(tmp_path / name)
    start_run(run, recipe, data or load_squares(), weights_of(source))
    return run


def train_on(run, recipe):
    assert run_training(recipe, load_squares(), run, Callback(), one_device()) is None
    return run


def assert_same_weights(one, other, step):
    with np.load(one.checkpoint_file(step)) as a, np.load(other.checkpoint_file(step)) as b:
        assert a.files == b.files
        for array in a.files:
            np.testing.assert_array_equal(a[array], b[array], err_msg=array)


def small_networks(source, **settings):
    """Return networks of random weights that fit those of a run, and the recipe."""
    recipe = dataclasses.replace(source.recipe, seed=9, **settings)
    return recipe, build_networks(recipe)


def test_both_networks_start_from_the_exported_checkpoint(tmp_path, faces):
    folder = RunFolder(faces.path)
    best = folder.step_to_export()
    source = build_networks(faces.recipe)
    load_checkpoint(folder, best, source)
    recipe, networks = small_networks(faces)
    random_moments = [variable.numpy() for variable in networks.generator_optimizer.variables]

    run = started(tmp_path, recipe, folder)
    assert load_newest_checkpoint(run, networks) == (0, [])
    # The generator gets the averaged weights, and the statistics of BatchNormalization that belong to them.
    names = [variable.path for variable in source.average.weights]
    assert [name for name in names if "moving_variance" in name]
    for ours in (networks.generator, networks.average):
        for a, b in zip(ours.get_weights(), source.average.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(networks.discriminator.get_weights(), source.discriminator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(networks.generator_optimizer.variables, random_moments, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    trained = zip(source.generator.get_weights(), source.average.get_weights(), strict=True)
    assert any(not np.array_equal(a, b) for a, b in trained), "the average does not differ: train longer"


def test_run_starts_from_the_checkpoint_that_export_takes(trained):
    assert weights_of(trained).step == load_source(trained).training["steps"] == 25
    with trained.history_file.open("a") as file:
        file.write(json.dumps({"step": 20, "frechet": 1.0}) + "\n")
    assert weights_of(trained).step == load_source(trained).training["steps"] == 20


def test_images_follow_the_run_that_they_start_from(tmp_path, faces):
    photos = write_images(tmp_path / "new", (32, 32, 1), ("a", "b"))
    messages = Messages()
    run = front_door.train(
        photos, start_from=faces, out=tmp_path / "run", steps=1, callbacks=[messages], **FAST
    )
    assert (run.recipe.image_shape, run.recipe.latent_dim, run.recipe.labels) == ((8, 12, 3), 16, ())
    shown = str(faces.path)
    assert f"size: 8x12 (height x width), as in {shown}, where the training starts" in messages.notes
    assert f"channels: 3, as in {shown}" in messages.notes
    assert f"labels: none, since {shown} has none" in messages.notes
    best = RunFolder(faces.path).step_to_export()
    assert messages.notes[-1] == f"start: the weights of {shown} at step {best}"

    checkpoint = RunFolder(faces.path).checkpoint_file(best).read_bytes()
    origin = {"recipe": "images", "step": best, "fingerprint": hashlib.sha256(checkpoint).hexdigest()}
    origin |= {"data": {"name": "photos", "images": 60, "licence": "unknown"}}
    assert run.start.items() >= {**origin, "source": str(faces.path.resolve()), "start": None}.items()
    assert faces.start is None
    # The exported file says so too, without the path.
    folder = RunFolder(run.path)
    assert load_source(folder).training["start"] == origin
    again = started(tmp_path, run.recipe, folder)
    assert read_start(again)["start"] == run.start
    assert describe_origin(read_start(again))["start"] == origin


def test_classes_follow_the_run_that_they_start_from(tmp_path, faces):
    photos = write_images(tmp_path / "new", (8, 12, 3), ("cat", "dog"))
    labelled = dataclasses.replace(find_start(faces.path), labels=("x", "y"))
    survey = survey_source(photos)
    assert not propose(survey).uses_labels  # 30 images in a class are few
    assert propose(survey, start=labelled).uses_labels
    assert not propose(survey, start=dataclasses.replace(labelled, labels=("x", "y", "z"))).uses_labels


def test_choices_of_the_user_come_first(tmp_path, faces):
    photos = write_images(tmp_path / "new")
    with pytest.raises(LayerMismatchError, match=r"give `image_size=\(8, 12\)`\.") as caught:
        front_door.train(photos, start_from=faces, out=tmp_path / "run", image_size=16)
    assert caught.value.layer == "the layer dense of the generator"
    assert caught.value.there == "a kernel of 16x6144"
    with pytest.raises(LayerMismatchError, match="give `channels=3`") as caught:
        front_door.train(photos, start_from=faces, out=tmp_path / "run", channels=1)
    assert caught.value.layer == "the layer conv2d_transpose of the generator"
    with pytest.raises(LayerMismatchError, match=r"give `settings=\{'latent_dim': 16\}`"):
        front_door.train(photos, start_from=faces, out=tmp_path / "run", settings={"latent_dim": 20})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "layer", "remedy"),
    [
        ({"labels": ("a", "b")}, "the layer dense of the generator", "start from a run with 2 labels"),
        # The weights have the same shapes, and the images differ.
        ({"image_shape": (12, 8, 3)}, "the layer conv2d_transpose of the generator", "image_size=(8, 12)"),
        ({"image_shape": (7, 12, 3)}, "the layer center_crop of the generator", "image_size=(8, 12)"),
    ],
    ids=["labels", "orientation", "crop"],
)
def test_networks_that_do_not_fit_are_an_error_that_names_the_layer(faces, changes, layer, remedy):
    recipe, networks = small_networks(faces, **changes)
    with pytest.raises(LayerMismatchError) as caught:
        check_fit(weights_of(faces), recipe, networks)
    assert caught.value.layer == layer
    assert remedy in caught.value.remedy


def test_labels_fit_by_their_number(faces):
    recipe = dataclasses.replace(faces.recipe, labels=("a", "b"))
    networks = build_networks(recipe)
    arrays = {
        f"{part}/{index:03d}/{weight.path}": weight.numpy()
        for part, model in (("generator", networks.generator), ("discriminator", networks.discriminator))
        for index, weight in enumerate(model.weights)
    }
    weights = weights_of(faces)
    start = dataclasses.replace(weights.start, labels=("x", "y"))
    labelled = dataclasses.replace(weights, start=start, arrays=arrays)
    check_fit(labelled, recipe, networks)
    for labels in ((), ("a", "b", "c")):
        other = dataclasses.replace(recipe, labels=labels)
        with pytest.raises(LayerMismatchError, match="give images of 2 classes"):
            check_fit(labelled, other, build_networks(other))


def test_networks_of_another_recipe_fit_if_their_layers_do(trained, small_recipe):
    own = dataclasses.replace(small_recipe, name="mine", seed=3)
    check_fit(weights_of(trained), own, build_networks(own))
    dcgan = dataclasses.replace(load_recipe("mnist-dcgan"), image_shape=(28, 28, 1), latent_dim=100)
    with pytest.raises(LayerMismatchError, match="train the recipe of these weights, mnist-minimal"):
        check_fit(weights_of(trained), dcgan, build_networks(dcgan))


def test_networks_with_more_layers_do_not_fit(faces):
    def deeper(image_shape, classes=1):
        from keras import Sequential, layers

        return Sequential([build_discriminator(image_shape, 5), layers.Dense(classes, name="more")])

    recipe = dataclasses.replace(faces.recipe, build_discriminator=deeper)
    with pytest.raises(LayerMismatchError, match="a kernel of 4032x1 there, and a kernel of 4032x5 here"):
        check_fit(weights_of(faces), recipe, build_networks(recipe))

    def longer(latent_dim, image_shape):
        from keras import Sequential, layers

        more = layers.Conv2D(3, 1, name="more", activation="tanh")
        return Sequential([build_generator(latent_dim, image_shape), more])

    recipe = dataclasses.replace(faces.recipe, build_generator=longer)
    with pytest.raises(LayerMismatchError, match="the layer more of the generator has no weights there"):
        check_fit(weights_of(faces), recipe, build_networks(recipe))


def test_run_that_stopped_before_its_first_checkpoint_starts_from_the_same_weights(
    tmp_path, trained, small_recipe
):
    recipe = dataclasses.replace(small_recipe, seed=3, steps=5)
    whole = train_on(started(tmp_path, recipe, trained, name="whole"), recipe)
    resumed = started(tmp_path, recipe, trained, name="resumed")
    shutil.rmtree(trained.path)
    assert resumed.checkpoint_steps() == []
    train_on(resumed, recipe)
    assert_same_weights(whole, resumed, 5)


def test_checkpoint_comes_before_the_start_weights(tmp_path, trained, small_recipe):
    record_start(trained, weights_of(trained))
    trained.checkpoint_file(25).unlink()
    networks, expected = build_networks(small_recipe), build_networks(small_recipe)
    assert load_newest_checkpoint(trained, networks) == (20, [])
    load_checkpoint(trained, 20, expected)
    for name, array in networks.read().items():
        np.testing.assert_array_equal(array, expected.read()[name], err_msg=name)


def test_run_with_start_weights_only_has_nothing_to_export(tmp_path, trained, small_recipe):
    run = started(tmp_path, small_recipe, trained)
    with pytest.raises(CheckpointError, match="has saved none yet"):
        front_door.export(run.path)
    with pytest.raises(CheckpointError, match="has saved none yet"):
        find_start(run.path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other networks"])
def test_damaged_start_weights_are_an_error_and_no_start_from_random_weights(
    tmp_path, trained, small_recipe, damage
):
    run = started(tmp_path, small_recipe, trained)
    file = run.start_weights_file
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        np.savez(file, **{"generator/000/dense/kernel": np.zeros((2, 2))})
    with pytest.raises(CheckpointError, match=r"start\.npz"):
        train_on(run, small_recipe)


def test_files_of_a_killed_start_do_not_stay(tmp_path, trained, small_recipe):
    run = started(tmp_path, small_recipe, trained)
    run.networks_file.write_text("{}")
    run.recipe_file.unlink()  # as if the process was killed just before it wrote the recipe
    start_run(run, small_recipe, load_squares())
    assert sorted(path.name for path in run.path.iterdir()) == ["data.json", "recipe.json", "run.json"]


def test_damaged_best_checkpoint_is_passed_over_with_a_warning(tmp_path, faces):
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(faces.path, copy.path)
    best = copy.step_to_export()
    (other,) = set(copy.checkpoint_steps()) - {best}
    copy.checkpoint_file(best).write_bytes(b"PK and no more")
    photos = write_images(tmp_path / "new")
    messages = Messages()
    plan, _ = resolve_plan(photos, TrainingArguments(start_from=copy.path, batch_size=8), messages)
    (warning,) = messages.warnings
    assert warning.startswith(f"{copy.path}: step-0000000{best}.npz is damaged (")
    assert warning.endswith(f": starting from step {other}")
    assert plan.start_weights.step == other
    assert messages.notes[-1] == f"start: the weights of {copy.path} at step {other}"
    copy.checkpoint_file(other).write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"step-0000000{best}\.npz is damaged .*{other}\.npz is dama"):
        load_start_weights(find_start(copy.path))


def test_start_that_does_not_exist_is_an_error_in_words(tmp_path, monkeypatch, trained_once, small_recipe):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownStartError, match=r"no run folder of this name; give a run folder \(see"):
        find_start("portraits")
    with pytest.raises(UnknownStartError):
        find_start("")
    shutil.copytree(trained_once.path, "runs/portraits")
    with pytest.raises(UnknownStartError, match=r"did you mean runs/portraits\?"):
        find_start("portraits")
    with pytest.raises(UsageError, match="give a run folder"):
        find_start("runs/portraits/generator.keras")
    with pytest.raises(RunNotFoundError, match="No run in runs"):
        find_start("runs")
    run = RunFolder(Path("empty"))
    start_run(run, small_recipe, load_squares())
    with pytest.raises(CheckpointError, match="has saved none yet"):
        find_start("empty")


def test_name_of_pretrained_networks_finds_their_files(tmp_path, monkeypatch, trained, small_recipe):
    """A pair of files is made from a run, in the form that the package bundles."""
    run = started(tmp_path, small_recipe, trained)
    bundled = tmp_path / "pretrained"
    bundled.mkdir()
    run.start_weights_file.rename(bundled / "squares.npz")
    run.start_file.rename(bundled / "squares.json")
    monkeypatch.setattr("ganport.trainer.start_weights._PRETRAINED", bundled)
    weights = load_start_weights(find_start("squares"))
    assert (weights.start.source, weights.step) == ("squares", trained.step_to_export())
    check_fit(weights, small_recipe, build_networks(small_recipe))
    with pytest.raises(UnknownStartError, match="or the name of pretrained networks: squares"):
        find_start("circles")
    again = RunFolder(tmp_path / "again")
    start_run(again, small_recipe, load_squares(), weights)
    assert json.loads(again.start_file.read_text())["source"] == "squares"


def test_bundled_networks_fit_the_recipe_for_images():
    start = find_start("faces")
    assert start.data == {"name": "faces", "images": 8000, "licence": "CC BY 4.0"}
    weights = load_start_weights(start)
    assert all(np.isfinite(each).all() for each in weights.arrays.values())
    recipe = dataclasses.replace(load_recipe("images"), image_shape=start.image_shape)
    networks = build_networks(recipe)
    check_fit(weights, recipe, networks)


def test_command_names_its_options(ganport, tmp_path):
    error = failure(ganport("train", "--from", "portraits"), 2)
    assert error.startswith("error: --from is 'portraits', and there is no run folder of this name;")
    error = failure(ganport("train", "--resume", "--from", "portraits"), 2)
    assert "--resume continues a run as it was started: leave out --from." in error


@pytest.mark.slow
@pytest.mark.parametrize("start", ["random weights", "another run"])
def test_ten_kills_at_random_moments_then_resume_ends_bit_identical(tmp_path, start):
    """The recipe `images` is killed before its run exists, before its first checkpoint, and later."""
    command = [sys.executable, str(ROOT / "cli.py"), "train"]
    write_images(tmp_path / "photos", (16, 16, 3))
    settings = ["photos", "--steps", "400", "--batch-size", "8", "--preview-interval", "25"]
    if start == "another run":
        source = ["photos", "--steps", "20", "--batch-size", "8", "--seed", "5", "--out", "source"]
        subprocess.run([*command, *source], cwd=tmp_path, check=True, capture_output=True)
        settings += ["--from", "source"]
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    started = time.monotonic()
    process = start_command([*command, *settings, "--out", "whole"], tmp_path)
    wait_for(process, whole.checkpoint_steps)
    first = time.monotonic() - started  # seconds until the first checkpoint
    assert process.wait() == 0
    each = (time.monotonic() - started - first) / 15  # seconds between two checkpoints

    rng = np.random.default_rng()
    for kill in range(10):
        before = killed.checkpoint_steps()
        how = ["--resume"] if killed.exists() else settings
        process = start_command([*command, *how, "--out", "killed"], tmp_path)
        if kill == 1:  # before the first checkpoint
            wait_for(process, killed.exists)
            shutil.rmtree(tmp_path / "source", ignore_errors=True)
        elif kill % 2:
            wait_for(process, lambda before=before: killed.checkpoint_steps() != before)
            time.sleep(rng.uniform(0, each))
        else:
            time.sleep(rng.uniform(0, first if kill else first / 8))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    subprocess.run([*command, "--resume", "--out", "killed"], cwd=tmp_path, check=True, capture_output=True)
    assert_same_weights(whole, killed, 400)


def start_command(command, folder):
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(process, is_reached):
    while not is_reached():
        assert process.poll() is None
        time.sleep(0.005)
