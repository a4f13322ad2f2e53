"""Files of two runs in one folder, edited files, and runs of other versions are errors that name the file."""

import dataclasses
import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ganport.datasets import load_images
from ganport.runtime import __version__
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.errors import CheckpointError, MixedRunError, RecipeError, RunVersionError
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_identity import check_identity, identity_arrays, read_identity, without_identity
from ganport.trainer.run_records import load_run_data, start_run
from ganport.trainer.start_weights import find_start, load_start_weights
from ganport.trainer.training import train
from tests.trainer.conftest import load_squares, write_run


@pytest.fixture(scope="module")
def other(tmp_path_factory, small_recipe, trained_once):
    """A run with the same networks, other settings and other images, which has a checkpoint of its own."""
    data = load_squares()
    data = dataclasses.replace(data, images=data.images[::-1].copy())
    recipe = dataclasses.replace(small_recipe, seed=7)
    run = write_run(tmp_path_factory.mktemp("other") / "run", recipe, data, [])
    run.checkpoint_file(25).parent.mkdir()
    with np.load(trained_once.checkpoint_file(25)) as arrays:
        np.savez(run.checkpoint_file(25), **without_identity(arrays), **identity_arrays(run))
    return run


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def copy(source, target, *names):
    for name in names:
        shutil.copy(source.path / name, target.path / name)


def uses(run):
    """The three uses of a run that need its networks."""
    yield lambda: train(out=run.path, resume=True)
    yield lambda: load_generator(run)
    yield lambda: load_start_weights(find_start(run.path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["recipe.json"], r"^recipe\.json in .*run is not the one that the run was started with; copy it"),
        (["data.json"], r"^data\.json in .*run is not the one that the run was started with"),
        (["recipe.json", "data.json"], r"^Each of data\.json, recipe\.json in .*run is not the one"),
        (["run.json"], r"^run\.json in .*run is of another run; remove it\.$"),
        (
            ["run.json", "recipe.json", "data.json"],
            r"^Each of .*step-00000025\.npz in .* is a checkpoint of another run \(data\.json, recipe\.js",
        ),
        (["checkpoints/step-00000025.npz"], r"^step-00000025\.npz in .* is a checkpoint of another run"),
    ],
)
def test_file_of_another_run_is_named(trained, other, names, message):
    copy(other, trained, *names)
    for use in uses(trained):
        with pytest.raises(MixedRunError, match=message):
            use()


def test_edited_setting_is_an_error(trained):
    edit(trained.recipe_file, ema_decay=0.5)
    with pytest.raises(MixedRunError, match=r"^recipe\.json in "):
        check_identity(trained)


def test_removed_and_added_files_are_named(trained):
    trained.module_file.write_text("raise SystemExit")
    with pytest.raises(
        MixedRunError, match=r"^recipe\.py in .* is not the one that the run was started with"
    ):
        check_identity(trained)
    trained.module_file.unlink()
    edit(
        trained.identity_file,
        files={**json.loads(trained.identity_file.read_text())["files"], "start.npz": "0"},
    )
    with pytest.raises(MixedRunError, match=r"^run\.json in .* is of another run"):
        check_identity(trained)
    for step in trained.checkpoint_steps():
        trained.checkpoint_file(step).unlink()
    with pytest.raises(MixedRunError, match=r"^start\.npz in .* is missing; copy it from a backup"):
        check_identity(trained)


def test_what_changes_no_weight_may_change(trained, small_data):
    """Users move their images, and give a run another title or another number of steps."""
    edit(trained.recipe_file, steps=40, title="Squares")
    edit(trained.data_file, source="/elsewhere", licence="CC0", name="boxes")
    check_identity(trained)
    load_generator(trained)


def test_run_of_an_early_version_is_read_and_gets_the_record(trained_once, run_small, small_recipe, tmp_path):
    """Such a run has neither run.json nor fingerprints in its checkpoints."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(trained_once.path, run.path)
    run.identity_file.unlink()
    for step in run.checkpoint_steps():
        with np.load(run.checkpoint_file(step)) as arrays:
            weights = without_identity(arrays)
        np.savez(run.checkpoint_file(step), **weights)
    check_identity(run)
    load_generator(run)
    run_small(dataclasses.replace(small_recipe, steps=26), resume=True)
    identity = read_identity(run)
    assert identity.version == __version__
    assert {"python", "keras", "tensorflow", "numpy"} == set(identity.software)
    with np.load(run.checkpoint_file(26)) as arrays:
        assert {"run/recipe.json", "run/data.json"} <= set(arrays)


def test_run_of_a_newer_version_is_rejected_by_name(trained):
    edit(trained.identity_file, format=2, version="9.0", files=None)
    for use in uses(trained):
        with pytest.raises(RunVersionError, match=r"run was written by ganport 9\.0, .*; upgrade ganport"):
            use()


def test_settings_of_another_version_name_the_version(trained):
    edit(trained.identity_file, version="0.0.7")
    edit(trained.recipe_file, unknown=1)
    with pytest.raises(RecipeError, match=r"use ganport 0\.0\.7, which wrote the settings"):
        trained.read_recipe()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": "1"}', '{"format": 1, "version": "0"}'])
def test_damaged_record_is_an_error(trained, content):
    trained.identity_file.write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged"):
        check_identity(trained)


@pytest.mark.parametrize("ending", ["bmp", "png"])
def test_replaced_images_of_a_folder_that_is_read_during_training_are_noticed(tmp_path, small_recipe, ending):
    """The white images have the names, sizes and times of the images that they replace."""
    (tmp_path / "images").mkdir()
    files = [tmp_path / "images" / f"{number}.{ending}" for number in range(10)]
    for file, pixels in zip(files, load_squares().images, strict=False):
        Image.fromarray(pixels[..., 0]).resize((128, 128)).save(file)
    data = load_images(tmp_path / "images", data_memory=0, image_size=28)
    run = RunFolder(tmp_path / "run")
    start_run(run, small_recipe, data)
    assert load_run_data(run).count == 10
    for file in files:
        status = file.stat()
        white = io.BytesIO()
        Image.new("L", (128, 128), 255).save(white, ending)
        file.write_bytes(white.getvalue().ljust(status.st_size, b"\0"))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert file.stat().st_size == status.st_size
    with pytest.raises(CheckpointError, match="are not the ones that the run was started with"):
        load_run_data(run)
