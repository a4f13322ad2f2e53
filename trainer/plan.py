"""TrainingPlan: the recipe and the images of a training, with all settings resolved."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path

from ganport.datasets.dataset import Dataset, Preparation
from ganport.datasets.errors import DatasetContentError
from ganport.datasets.loading import find_source, is_image_folder, load_prepared
from ganport.datasets.survey import survey_source
from ganport.evaluation.references import MIN_IMAGES
from ganport.runtime.errors import UsageError
from ganport.runtime.files import expand_home

from .arguments import TrainingArguments
from .devices import load_tensorflow
from .errors import RecipeError, RunExistsError
from .held_out import count_held_out
from .proposal import propose
from .recipe import Recipe
from .recipes import DEFAULT_RECIPE, IMAGES_RECIPE, RECIPES, is_recipe_file, load_recipe
from .run_folder import RunFolder
from .settings import change_recipe
from .start_weights import Start, StartWeights, find_start

RecipeSource = str | os.PathLike[str] | Recipe


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """A recipe with its settings resolved, and the images that the recipe is trained on.

    Attributes:
        recipe: The recipe. If the images are loaded, its image shape, labels and data set are those of the
            images.
        source: Name or path of the data.
        data: The images; None if they are not loaded yet. If the recipe is trained on its own data set, the
            images are not needed to resolve the settings.
        notes: Messages to the user about settings that were chosen automatically.
        report: Lines about the images of a folder, and about the settings that were chosen for them.
        chooses_precision: Whether `train` chooses between float32 and bfloat16 when it knows the devices.
        start: Trained networks from which the training starts; None for random weights.
        start_weights: The weights of these networks; None if they are not loaded yet.
    """

    recipe: Recipe
    source: str
    data: Dataset | None = None
    notes: tuple[str, ...] = ()
    report: tuple[str, ...] = ()
    chooses_precision: bool = False
    start: Start | None = None
    start_weights: StartWeights | None = None
    _data_dir: Path | None = None
    _preparation: Preparation = dataclasses.field(default_factory=Preparation)
    _may_drop_labels: bool = False
    _may_drop_measure: bool = False

    def load(self) -> TrainingPlan:
        """Return a plan with loaded images, whose recipe has the shape, labels and data set of these images.

        Raises:
            DatasetError: The images are missing or damaged, or they do not fit the recipe.
        """
        if self.data is not None:
            return self
        data = load_prepared(self.source, self._preparation, self._data_dir)
        recipe, notes = self.recipe, self.notes
        if recipe.labels and self._may_drop_labels and not data.is_labelled:
            notes = (
                *notes,
                f"{recipe.name}: trained without labels, since {data.unlabelled or 'the images have none'}",
            )
            recipe = dataclasses.replace(recipe, labels=())
        recipe = dataclasses.replace(recipe, dataset=data.name, image_shape=data.image_shape)
        report = self.report
        obstacle = _why_not_measured(data) if self._may_drop_measure else ""
        if obstacle:
            report = (*report, f"measure: none, since {obstacle}")
            recipe = dataclasses.replace(recipe, evaluate_interval=0)
        if recipe.held_out_share:
            report = (*report, _describe_held_out(recipe, data))
        check_data_fits(recipe, data)
        if recipe.labels:
            recipe = dataclasses.replace(recipe, labels=tuple(data.classes))
        return dataclasses.replace(self, recipe=recipe, data=data, notes=notes, report=report)


def plan_training(
    recipe: RecipeSource | None = None, arguments: TrainingArguments | None = None
) -> TrainingPlan:
    """Return the plan that `train` would follow with the same arguments.

    The images are loaded only if the settings depend on them, that is, if `data` or an argument about the
    images is given, or if `recipe` is a folder of images.

    Args:
        recipe: Name of a bundled recipe, path of a recipe file or of a folder of images, or a Recipe.
        arguments: The other arguments.

    Raises:
        UsageError: Two arguments contradict each other, or a setting can't be changed.
        UnknownRecipeError: `recipe` is neither a bundled recipe, nor a recipe file, nor a folder.
        UnknownSettingError: `settings` has a name that is not that of a setting.
        RecipeError: The recipe's settings or networks are not valid.
        RunExistsError: `recipe` is a run folder.
        UnknownStartError: `start_from` is neither a run folder nor the name of pretrained networks.
        RunNotFoundError, CheckpointError: The folder `start_from` holds no run, or the run has no checkpoint.
        DatasetError: The images are missing or damaged, or they do not fit the recipe.
    """
    given = arguments or TrainingArguments()
    named, data = _split_folder(recipe, given.data)
    is_default = named is None
    if named is None:
        named = IMAGES_RECIPE if data is not None and _is_image_folder(data, given) else DEFAULT_RECIPE
    resolved = _resolve(named, given)
    is_own_data = data in (None, resolved.dataset)
    default_precision = "auto" if named == IMAGES_RECIPE else "off"
    plan = TrainingPlan(
        recipe=resolved,
        source=resolved.dataset if data is None else data,
        _data_dir=_data_dir(given),
        # The images of the recipe's own data set are resized to the image size in the recipe.
        _preparation=given.preparation(resolved.image_shape[:2] if is_own_data else None),
        chooses_precision=(given.mixed_precision or default_precision) == "auto",
        start=None if given.start_from is None else find_start(given.start_from),
        _may_drop_labels=is_default,
        _may_drop_measure=named == IMAGES_RECIPE
        and not (given.gives("evaluate_interval") or given.gives("early_stop")),
    )
    if data is not None and named == IMAGES_RECIPE:
        plan = _with_proposal(plan, given)
    is_prepared = given.preparation() != Preparation()
    return plan.load() if data is not None or is_prepared else plan


def _why_not_measured(data: Dataset) -> str:
    """Return why the Fréchet distance can't be measured in the training; empty if it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; `pip install 'ganport[cpu]'` adds it"
    if data.count < MIN_IMAGES:
        return f"{data.count} images are fewer than {MIN_IMAGES}"
    return ""


def _describe_held_out(recipe: Recipe, data: Dataset) -> str:
    count = count_held_out(recipe, data.count)
    if not count:
        return f"held out: none, since {data.count:,} images are few"
    return f"held out: {count} images, which show whether the discriminator memorises the other ones"


def _is_image_folder(data: str, arguments: TrainingArguments) -> bool:
    """Return whether the data is a folder of images, and no named data set."""
    return is_image_folder(find_source(data, _data_dir(arguments)))


def _data_dir(arguments: TrainingArguments) -> Path | None:
    return None if arguments.data_dir is None else Path(arguments.data_dir)


def _with_proposal(plan: TrainingPlan, arguments: TrainingArguments) -> TrainingPlan:
    """Return a plan whose settings follow from the images, unless the user gave them.

    If the training starts from trained networks, the settings that decide the shapes of the layers follow
    from these networks.

    Raises:
        DatasetError: There are too few images, no generator can learn from them, or some can't be read.
    """
    survey = survey_source(plan.source, data_dir=plan._data_dir)
    survey.check(skip_bad=arguments.skip_bad)
    start = plan.start
    proposal = propose(survey, image_size=arguments.size, channels=arguments.channels, start=start)
    recipe = plan.recipe
    if start is not None and "latent_dim" not in (arguments.settings or {}):
        recipe = dataclasses.replace(recipe, latent_dim=start.latent_dim)
    if "diff_augment" not in (arguments.settings or {}):
        recipe = dataclasses.replace(recipe, diff_augment=proposal.diff_augment)
    if proposal.uses_labels:
        recipe = dataclasses.replace(recipe, labels=tuple(survey.classes))
    preparation = dataclasses.replace(arguments.preparation(proposal.image_size), channels=proposal.channels)
    report = (*survey.lines(), *proposal.reasons)
    return dataclasses.replace(plan, recipe=recipe, report=report, _preparation=preparation)


def is_folder(recipe: RecipeSource) -> bool:
    """Return whether `recipe` is the path of a folder. The name of a bundled recipe is never a folder."""
    if isinstance(recipe, Recipe) or recipe in RECIPES:
        return False
    text = _text(recipe)
    try:
        return text != "" and Path(text).is_dir()
    except (OSError, ValueError):  # the text is not a valid path
        return False


def check_data_fits(recipe: Recipe, data: Dataset) -> None:
    """Check that a data set has the images and labels that a recipe needs.

    Raises:
        DatasetContentError: There are too few images, or the recipe has labels and the images have none.
    """
    if recipe.labels and not data.is_labelled:
        reason = data.unlabelled or "the images have none"
        raise DatasetContentError(
            data.source,
            f"the recipe {recipe.name!r} needs labels, and {reason}; give a folder with a sub-folder per "
            "label, or IDX or .npz files with labels.",
        )
    remedy = "add images, or choose a smaller `batch_size`"
    count = data.count - count_held_out(recipe, data.count)
    if count < recipe.batch_size:
        problem = f"its {count:,} images are fewer than one batch of {recipe.batch_size:,}"
        raise DatasetContentError(data.source, f"{problem}; {remedy}.")
    if recipe.schedule == "alternating" and count <= recipe.batch_size:
        problem = f"its {count} images are one batch, and the schedule 'alternating' needs more than one"
        raise DatasetContentError(data.source, f"{problem}; {remedy}.")
    if recipe.evaluate_interval and data.count < MIN_IMAGES:
        problem = f"its {data.count} images are too few for `evaluate_interval`, which needs {MIN_IMAGES}"
        raise DatasetContentError(data.source, f"{problem}; add images, or leave out `evaluate_interval`.")


def _split_folder(
    recipe: RecipeSource | None, data: str | os.PathLike[str] | None
) -> tuple[RecipeSource | None, str | None]:
    """Return the recipe, or None if a folder of images is given instead of a recipe; and the images."""
    text = None if data is None else _text(data)
    if recipe is None or not is_folder(recipe):
        return recipe, text
    folder = _text(recipe)
    if data is not None:
        raise UsageError(f"`recipe` is the folder {folder}, and `data` is given too; give the images once.")
    if RunFolder(Path(folder)).exists():
        raise RunExistsError(Path(folder))
    return None, folder


def _resolve(recipe: RecipeSource, arguments: TrainingArguments) -> Recipe:
    """Return the recipe with all settings that the arguments change."""
    found = _find_recipe(recipe, arguments.as_published)
    changed = change_recipe(found, arguments.settings or {})
    return dataclasses.replace(changed, **arguments.recipe_fields())


def _find_recipe(recipe: RecipeSource, as_published: bool) -> Recipe:
    if isinstance(recipe, Recipe):
        if as_published:
            raise UsageError(
                "`as_published=True` needs the name or the file of a recipe; leave it out for a Recipe."
            )
        if not (recipe.build_generator and recipe.build_discriminator):
            raise RecipeError(
                f"Recipe {recipe.name!r} has no networks; give it the functions `build_generator` and "
                "`build_discriminator`."
            )
        return recipe
    name = _text(recipe)
    if is_recipe_file(name) and expand_home(name).is_file():
        # The recipe file may import TensorFlow. If TensorFlow is imported here first, its log lines are
        # hidden.
        load_tensorflow()
    return load_recipe(name, as_published=as_published)


def _text(value: RecipeSource) -> str:
    """Return a path or a name as text. A leading ~ is replaced by the user's home folder."""
    assert not isinstance(value, Recipe)  # noqa: S101
    return os.path.expanduser(os.fspath(value))  # noqa: PTH111 (a name need not be a path)
