"""`ganport.train`: trains the networks of a recipe on images, and returns the run."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from ganport.datasets.dataset import Dataset
from ganport.datasets.preparation import Crop
from ganport.runtime.errors import MissingPackageError, UsageError
from ganport.runtime.files import expand_home

from .arguments import MixedPrecision, TrainingArguments
from .callbacks import Callback, Callbacks
from .devices import (
    DeviceName,
    Devices,
    check_sharing,
    choose_devices,
    count_workers,
    has_fast_bfloat16,
    load_tensorflow,
)
from .errors import RunExistsError, RunNotFoundError, TrainingInterrupted
from .notebook import NotebookProgress, in_notebook
from .plan import RecipeSource, TrainingPlan, is_folder, plan_training
from .recipe import Recipe
from .recipes import is_bundled, is_recipe_file, load_recipe
from .remaining_time import describe_duration
from .run import Run
from .run_folder import RunFolder
from .run_identity import check_identity
from .run_records import await_run, load_run_data, start_run
from .runs import RUNS, newest_run, unused_run
from .start_weights import check_fit, load_start_weights
from .tensorboard_logs import TensorBoardLogs


def train(
    recipe: RecipeSource | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    start_from: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    crop: Crop | None = None,
    background: str | None = None,
    skip_bad: bool = False,
    data_memory: int | None = None,
    preview_interval: int | None = None,
    evaluate_interval: int | None = None,
    early_stop: int | None = None,
    mixed_precision: MixedPrecision | None = None,
    title: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: DeviceName = "auto",
    devices: int = 1,
    resume: bool = False,
    as_published: bool = False,
    tensorboard: bool = False,
    callbacks: Iterable[Callback] | None = None,
) -> Run:
    """Train a GAN, and return its run: a folder with checkpoints, previews and history.

    Args:
        recipe: Name of a bundled recipe (see `ganport recipes`), path of a recipe file, or a Recipe. If
            `recipe` is a folder of images, the recipe "images" is trained on these images, with settings that
            follow from them. With `resume`, it may also be a run folder. The default recipe is "images" if
            `data` is a folder of images, or else "digits"; it is trained without labels if the data has no
            labels.
        data: Name of a data set, a folder of images, or an .npz or IDX file. By default the data set of the
            recipe.
        data_dir: Folder that is searched for named data sets before the folder $GANPORT_DATA.
        start_from: Run folder, or name of pretrained networks, from whose weights both networks start; by
            default they start from random weights. For a run, the weights are those of the checkpoint that
            `export` takes, and the generator gets the averaged ones. The layers of both networks must have
            the same sizes. If a folder of images is trained with the recipe "images", the image size, the
            channels, the number of latents and the use of labels follow from `start_from`. The weights are
            copied into the run folder.
        out: The run folder. By default runs/NAME, or the first unused of runs/NAME-2, runs/NAME-3, ...
        steps: Number of training steps; by default that of the recipe. With `resume`, the run goes on to this
            step, with a longer or a shorter schedule than it was started with. The history records the step
            from which the new schedule counts. Learning rates that decay follow the new schedule, so they
            change at this step.
        minutes: Time of the training. The speed is measured before the first step, and the number of steps
            follows from it. It is saved, so a resumed run makes the same steps.
        batch_size: Number of real images per step; by default that of the recipe.
        seed: Seed of the initial weights and of all random numbers, 0 to 2**31 - 1; by default the recipe's.
        image_size: Pixels per side, at least 8, or (height, width), or a text such as "64x48". Each image is
            cropped as `crop` says, and resized. For a folder of images it is chosen by default.
        channels: 1 for grey, 3 for colour, 4 for colour with alpha. By default the number of channels of the
            images, without alpha.
        crop: "center" uses the largest rectangle of the right shape in the middle of each image, "random" one
            at a random place, "none" the whole image, which is padded. By default "center".
        background: Colour behind transparent pixels, and of padding: a name such as "white", or "#rrggbb".
            By default white.
        skip_bad: Whether images that can't be read are left out. By default they are an error.
        data_memory: Largest number of MB that a folder of images may take in memory. The images of a larger
            folder are read during the training.
        preview_interval: Steps between two previews; by default the interval of the recipe. A checkpoint is
            saved with each preview.
        evaluate_interval: Steps between two measurements of the Fréchet distance; by default the interval of
            the recipe. 0 turns them off. If this distance is measured, the best checkpoint is the one with
            the smallest value, and `export` takes it.
        early_stop: Number of measurements of the Fréchet distance without a new smallest value after which
            the training ends. The run is then complete. By default, or with 0, all steps are trained.
        mixed_precision: Whether to compute in bfloat16; the weights stay in float32. "auto" does so if it is
            faster on the chosen devices. The choice is saved in the run. By default that of the recipe, which
            is "off" for all bundled recipes.
        title: Name of the model on cards and pages, such as "My faces"; by default the name of the recipe. It
            is saved in the run and in exported files.
        settings: Other settings of the recipe, as a dict from the name of a setting to its value, such as
            {"loss": "hinge", "learning_rate": 1e-3}. A setting is a field of `Recipe`, or a field of one of
            its optimizers, such as "generator_optimizer.learning_rate". A field of optimizers alone, such as
            "learning_rate", sets both optimizers. A value may also be a text, such as "color,translation".
        device: Kind of the devices. "auto" is the GPU if TensorFlow finds a GPU, else the CPU. "gpu" raises
            DeviceError if there is no GPU.
        devices: Number of devices that share each batch.
        resume: Whether to continue the run in `out` with the settings that it was started with; only `steps`
            may differ. Without `out`, the newest run is continued, or the newest run of `recipe` if that is
            given.
        as_published: Whether to train with the settings of the published description that the recipe follows,
            instead of the default settings.
        tensorboard: Whether to write logs for TensorBoard too.
        callbacks: Receivers of the progress; see `Callback`. By default a notebook shows a progress bar and
            the newest preview, and nothing is shown elsewhere.

    Raises:
        UsageError: An argument has a value that is not valid, or two arguments contradict each other.
        UnknownRecipeError: `recipe` is neither a bundled recipe, nor a recipe file, nor a folder.
        UnknownSettingError: `settings` has a name that is not that of a setting.
        RecipeError: The recipe's settings or networks are not valid.
        DatasetError: The images are missing or damaged, or they do not fit the recipe.
        UnknownStartError: `start_from` is neither a run folder nor the name of pretrained networks.
        LayerMismatchError: The weights of `start_from` do not fit the networks. The error names the layer.
        RunExistsError: `out` already holds a run.
        RunNotFoundError: There is no run to resume, or in the folder `start_from`.
        RunInUseError: Another process is training the run.
        CheckpointError: The run to resume, or the run `start_from`, has no undamaged checkpoint; or the
            images of the run to resume have changed.
        MixedRunError: A file of the run to resume, or of the run `start_from`, was edited, or is that of
            another run.
        RunVersionError: A newer version of ganport has written the run.
        DeviceError: The requested devices are not available.
        NotEnoughMemoryError: The training needs more memory than there is.
        DivergedError: A loss or a weight is no longer finite. The last good checkpoint is kept.
        OutputError: The run folder is not writable.
        MissingPackageError: A required package is not installed.
        TrainingInterrupted: Ctrl-C or SIGTERM ended the training, and a checkpoint was saved.

    Example::

        run = ganport.train("photos", image_size=64)
        ganport.export(run)
    """
    _check_devices(device, devices)
    if callbacks is None:
        callbacks = [NotebookProgress()] if in_notebook() else []
    callback = Callbacks(callbacks)
    arguments = TrainingArguments(
        data=data,
        data_dir=data_dir,
        start_from=start_from,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        seed=seed,
        image_size=image_size,
        channels=channels,
        crop=crop,
        background=background,
        skip_bad=skip_bad,
        data_memory=data_memory,
        preview_interval=preview_interval,
        evaluate_interval=evaluate_interval,
        early_stop=early_stop,
        mixed_precision=mixed_precision,
        title=title,
        settings=settings,
        as_published=as_published,
    )
    folder = None if out is None else RunFolder(expand_home(out))
    try:
        if resume:
            _check_resumed(arguments)
            run = _find_run(recipe, folder)
            resolved = _with_steps(run, steps)
            callback.on_stage("reading images")
            images = load_run_data(run)
            chosen = _prepare_devices(resolved, device, devices, callback)
        else:
            if folder is not None and folder.exists() and count_workers() == 1:
                raise RunExistsError(folder.path)
            plan, chosen = resolve_plan(recipe, arguments, callback, device, devices)
            run = _start(plan, folder, chosen)
            resolved, images = plan.recipe, _loaded(plan)
        if tensorboard and chosen.is_chief:
            callback.add(TensorBoardLogs(run.tensorboard_folder))
        _train(resolved, images, run, callback, chosen)
    finally:
        callback.on_end()
    return Run(run.path)


def resolve_plan(
    recipe: RecipeSource | None,
    arguments: TrainingArguments,
    callback: Callback,
    device: DeviceName = "auto",
    devices: int = 1,
) -> tuple[TrainingPlan, Devices]:
    """Return the plan of a new run with loaded images, and the devices. Nothing is trained or written.

    Settings that depend on the devices are resolved, too: the precision, and the steps that `minutes` allows.
    The arguments and errors are those of `train`. The callback receives the stages, notes and warnings.
    """
    callback.on_stage("reading images")
    return _resolve_for_devices(plan_training(recipe, arguments).load(), arguments, callback, device, devices)


def preview_plan(
    recipe: RecipeSource | None,
    arguments: TrainingArguments,
    callback: Callback,
    device: DeviceName = "auto",
    devices: int = 1,
) -> TrainingPlan:
    """Return the plan of a new run without training it, as `--dry-run` does.

    The plan is resolved for the devices only if that needs a measurement or a check on them: for the images
    of a folder, whose report also states the time of the training, for `minutes`, and for `start_from`. The
    arguments and errors are those of `train`. The callback receives the stages, notes and warnings.
    """
    callback.on_stage("reading images")
    plan = plan_training(recipe, arguments)
    if not plan.report and arguments.minutes is None and arguments.start_from is None:
        for note in plan.notes:
            callback.on_warning(note)
        return plan
    plan, chosen = _resolve_for_devices(plan.load(), arguments, callback, device, devices)
    if plan.report and arguments.minutes is None:
        from .pace import measure_pace

        callback.on_stage("measuring the speed")
        pace = measure_pace(plan.recipe, _loaded(plan), chosen)
        callback.on_note(
            f"time: about {describe_duration(pace.seconds(plan.recipe.steps))} for {plan.recipe.steps:,} "
            f"steps, at {pace.images_per_second:,.0f} images/s here; to choose the time: --minutes"
        )
    return plan


def _resolve_for_devices(
    plan: TrainingPlan, arguments: TrainingArguments, callback: Callback, device: DeviceName, devices: int
) -> tuple[TrainingPlan, Devices]:
    for line in plan.report:
        callback.on_note(line)
    for note in plan.notes:
        callback.on_warning(note)
    chosen = _prepare_devices(plan.recipe, device, devices, callback)
    _check_memory(plan, callback)
    plan = _load_start(plan, callback)
    return _fit_to_minutes(_choose_precision(plan), arguments, chosen, callback), chosen


def _check_devices(device: str, devices: int) -> None:
    if device not in get_args(DeviceName):
        raise UsageError(f"`device` is {device!r}; it must be one of {', '.join(get_args(DeviceName))}.")
    if not isinstance(devices, int) or devices < 1:
        raise UsageError(f"`devices` is {devices!r}; it must be a whole number of at least 1.")


def _check_resumed(arguments: TrainingArguments) -> None:
    given = [f"`{name}`" for name in arguments.given() if name != "steps"]
    if given:
        raise UsageError(
            f"`resume=True` continues a run as it was started: leave out {', '.join(given)}. `resume` can "
            "be combined with `steps`, `out`, `device`, `devices` and `tensorboard`."
        )


def _with_steps(run: RunFolder, steps: int | None) -> Recipe:
    """Return the recipe of a run, with another number of steps if that is given.

    Raises:
        UsageError: The run has already made more steps.
    """
    recipe = run.load_recipe()
    done = max(run.checkpoint_steps(), default=0)
    if steps is None:
        return recipe
    if steps < done:
        raise UsageError(
            f"`steps` is {steps}, and {run.path} has already made {done:,}; give at least {done}, or train a "
            "new run."
        )
    return dataclasses.replace(recipe, steps=steps)


def _find_run(recipe: RecipeSource | None, folder: RunFolder | None) -> RunFolder:
    """Return the folder of the run to resume.

    Raises:
        UsageError: `recipe` is a recipe file, or a recipe other than that of the run; or both `recipe` and
            `out` are folders.
        UnknownRecipeError: `recipe` is no bundled recipe, no recipe file and no folder.
        RunNotFoundError: The folder contains no run, or there is no run of the recipe.
        MixedRunError: A file of the run was edited, or is that of another run.
        RunVersionError: A newer version of ganport has written the run.
    """
    if recipe is None:
        name = None
    elif isinstance(recipe, Recipe):
        name = recipe.name
    elif is_folder(recipe):
        if folder is not None:
            raise UsageError(
                f"`recipe` is the folder {os.fspath(recipe)}, and `out` is given too; give the run folder "
                "only once."
            )
        name, folder = None, RunFolder(expand_home(recipe))
    elif is_recipe_file(os.fspath(recipe)):
        raise UsageError(
            "`resume=True` takes the recipe from the run; leave out the recipe file, and give the run folder "
            "as `out`."
        )
    else:
        name = load_recipe(recipe).name  # raises UnknownRecipeError for an unknown name
    run = folder or newest_run(RUNS, name)
    if not run.exists():
        raise RunNotFoundError(run.path)
    found = run.read_recipe().name
    if name not in (None, found):
        raise UsageError(
            f"{run.path} is a run of {found}, not of {name}; leave out `recipe`, or give the folder of "
            "another run."
        )
    check_identity(run)
    return run


def _prepare_devices(recipe: Recipe, device: DeviceName, count: int, callback: Callback) -> Devices:
    """Return the requested devices, after a check that the packages for the run are installed."""
    callback.on_stage("loading TensorFlow")
    load_tensorflow()
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingPackageError("matplotlib", "training", "train")
    if recipe.evaluate_interval and importlib.util.find_spec("onnxruntime") is None:
        raise MissingPackageError("onnxruntime", "`evaluate_interval`", "cpu")
    chosen = choose_devices(device, count)
    if recipe.early_stop and chosen.hosts > 1:
        raise UsageError(
            "`early_stop` is for one host, since each host would measure another distance; leave it out."
        )
    check_sharing(recipe, chosen)  # raises RecipeError before a run folder is created
    return chosen


def _check_memory(plan: TrainingPlan, callback: Callback) -> None:
    """Check that the memory is enough, and say how much is needed if the settings follow from the images."""
    from .memory import check_memory

    needed = check_memory(plan.recipe, _loaded(plan))
    if plan.report and needed is not None:
        callback.on_note(f"memory: about {needed / 1e9:.1f} GB")


def _load_start(plan: TrainingPlan, callback: Callback) -> TrainingPlan:
    """Return a plan with the weights from which the training starts, after a check that they fit."""
    if plan.start is None:
        return plan
    from .networks import build_networks

    weights = load_start_weights(plan.start)
    check_fit(weights, plan.recipe, build_networks(plan.recipe))
    for problem in weights.passed_over:
        callback.on_warning(f"{plan.start.source}: {problem}: starting from step {weights.step:,}")
    callback.on_note(f"start: the weights of {plan.start.source} at step {weights.step:,}")
    return dataclasses.replace(plan, start_weights=weights)


def _choose_precision(plan: TrainingPlan) -> TrainingPlan:
    """Return a plan that computes in bfloat16 if it is to choose, and if bfloat16 is faster here."""
    if not plan.chooses_precision:
        return plan
    is_mixed = has_fast_bfloat16(plan.recipe)
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, mixed_precision=is_mixed))


def _fit_to_minutes(
    plan: TrainingPlan, arguments: TrainingArguments, devices: Devices, callback: Callback
) -> TrainingPlan:
    """Return a plan with as many steps as can be made in the given minutes; the plan itself without them."""
    minutes = arguments.minutes
    if minutes is None:
        return plan
    if devices.hosts > 1:
        raise UsageError(
            "`minutes` is for one host, since each host would measure another speed; use `steps`."
        )
    from .pace import fit_to_minutes, measure_pace

    callback.on_stage("measuring the speed")
    pace = measure_pace(plan.recipe, _loaded(plan), devices)
    recipe = fit_to_minutes(
        plan.recipe,
        pace,
        minutes,
        keeps_previews=arguments.gives("preview_interval"),
        keeps_measures=arguments.gives("evaluate_interval"),
    )
    callback.on_note(
        f"time: {recipe.steps:,} steps in {minutes:g} minutes, at {pace.images_per_second:,.0f} images/s here"
    )
    return dataclasses.replace(plan, recipe=recipe)


def _start(plan: TrainingPlan, folder: RunFolder | None, devices: Devices) -> RunFolder:
    """Return the folder of a new run.

    The first host of a cluster, or the only host, creates the folder. Other hosts wait until the folder holds
    a run.
    """
    if devices.hosts > 1 and folder is None:
        raise UsageError(
            "`out` is missing; the hosts of a cluster need a run folder that all hosts can access."
        )
    run = folder or unused_run(RUNS, plan.recipe.name)
    if not is_bundled(plan.recipe):
        from .networks import build_networks

        build_networks(plan.recipe)  # raises RecipeError for wrong networks before a run folder is created
    if devices.is_chief:
        start_run(run, plan.recipe, _loaded(plan), plan.start_weights)
    else:
        await_run(run)
    return run


def _loaded(plan: TrainingPlan) -> Dataset:
    assert plan.data is not None  # noqa: S101 (`load` was called)
    return plan.data


def _train(recipe: Recipe, data: Dataset, run: RunFolder, callback: Callback, devices: Devices) -> None:
    from .loop import run_training

    received = run_training(recipe, data, run, callback, devices)
    if received is not None:
        raise TrainingInterrupted(run.path, run.newest_step(), received)
