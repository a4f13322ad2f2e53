"""Errors of recipes, runs and training.

These errors extend the tree of `ganport.runtime.errors`. Each leaf is also the builtin error that a Python
programmer would expect::

    GanportError
    ├── UsageError
    │   ├── UnknownRecipeError (LookupError)      the name is no bundled recipe, no recipe file and no folder
    │   ├── UnknownSettingError (LookupError)     recipes have no setting of this name
    │   └── UnknownStartError (LookupError)       the name is no run folder and no pretrained networks
    ├── RecipeError (ValueError)                  the settings or the networks of a recipe are not valid
    ├── DeviceError (RuntimeError)                the requested training device is not available
    ├── NotEnoughMemoryError (RuntimeError)       a training needs more memory than there is
    └── RunError
        ├── RunNotFoundError (FileNotFoundError)  there is no run in the folder
        ├── RunExistsError (FileExistsError)      the folder already holds a run
        ├── RunInUseError (RuntimeError)          another process is training the run
        ├── CheckpointError (ValueError)          a checkpoint or record of a run is missing or damaged
        ├── MixedRunError (ValueError)            a file in a run folder is edited, or is that of another run
        ├── RunVersionError (ValueError)          a newer version of ganport has written the run
        ├── LayerMismatchError (ValueError)       trained weights do not fit the networks of a new run
        └── DivergedError (ArithmeticError)       a loss or a weight is no longer finite
    KeyboardInterrupt
    └── TrainingInterrupted                       Ctrl-C or SIGTERM ended the training; everything was saved
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganport.runtime.errors import GanportError, UsageError


class UnknownRecipeError(UsageError, LookupError):
    """The name is neither that of a bundled recipe, nor the path of an existing recipe file or folder."""

    def __init__(self, got: str, known: Sequence[str]) -> None:
        self.got, self.known = got, tuple(known)
        problem = f"There is no recipe file {got!r}" if got.endswith(".py") else f"Recipe {got!r} is unknown"
        super().__init__(
            f"{problem}; choose one of {', '.join(known)}, or give the path of a recipe file, NAME.py, or of "
            "a folder of images."
        )


class UnknownSettingError(UsageError, LookupError):
    """Recipes have no setting of this name.

    Attributes:
        got: The name.
        closest: The most similar names of settings; all names if none is similar.
    """

    def __init__(self, got: str, closest: Sequence[str]) -> None:
        self.got, self.closest = got, tuple(closest)
        super().__init__(f"Setting {got!r} is unknown; did you mean one of: {', '.join(closest)}?")


class UnknownStartError(UsageError, LookupError):
    """The name is neither the path of a run folder nor the name of pretrained networks.

    Attributes:
        got: The name.
        known: The names of the pretrained networks.
        suggestion: Path of a run with this name; None if there is none.
    """

    def __init__(self, got: str, known: Sequence[str], suggestion: Path | None = None) -> None:
        self.got, self.known, self.suggestion = got, tuple(known), suggestion
        remedy = "give a run folder (see `ganport runs`)"
        if known:
            remedy += f", or the name of pretrained networks: {', '.join(known)}"
        if suggestion:
            remedy = f"did you mean {suggestion}?"
        end = "" if suggestion else "."
        super().__init__(f"`start_from` is {got!r}, and there is no run folder of this name; {remedy}{end}")


class RecipeError(GanportError, ValueError):
    """The settings or the networks of a recipe are not valid."""


class DeviceError(GanportError, RuntimeError):
    """The requested training device is not available."""

    def __init__(self, device: str, problem: str, remedy: str) -> None:
        self.device, self.problem, self.remedy = device, problem, remedy
        super().__init__(f"Can't train on {device}: {problem}; {remedy}.")


class NotEnoughMemoryError(GanportError, RuntimeError):
    """A training needs more memory than there is.

    Attributes:
        image_shape: Height, width and channels of the images.
        batch_size: Number of real images per step.
        needed: Memory that the training needs, in bytes; an estimate.
        usable: Memory that this process can get, in bytes.
    """

    def __init__(self, image_shape: tuple[int, int, int], batch_size: int, needed: int, usable: int) -> None:
        self.image_shape, self.batch_size, self.needed, self.usable = image_shape, batch_size, needed, usable
        height, width, _ = image_shape
        super().__init__(
            f"Training on images of {height}x{width} in batches of {batch_size} needs about "
            f"{needed / 1e9:.1f} GB of memory, and {usable / 1e9:.1f} GB are free; give a smaller "
            "`image_size` or `batch_size`."
        )


class RunError(GanportError):
    """Base class of the errors of a run and its folder."""


class RunNotFoundError(RunError, FileNotFoundError):
    """There is no run in the folder."""

    def __init__(self, path: Path, recipe: str | None = None) -> None:
        self.path, self.recipe = path, recipe
        of_recipe = f" of the recipe {recipe}" if recipe else ""
        command = f"ganport train {recipe}" if recipe else "ganport train"
        super().__init__(f"No run{of_recipe} in {path}; create one with: {command}")


class RunExistsError(RunError, FileExistsError):
    """The folder already holds a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} already holds a run; continue it with `resume=True`, or choose another `out`."
        )


class RunInUseError(RunError, RuntimeError):
    """Another process is training the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"Another process is training {path}; wait until that process ends, or choose another `out`."
        )


class CheckpointError(RunError, ValueError):
    """A checkpoint, preview or record of a run is missing or damaged."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"No usable checkpoint in {path}: {problem}")


class MixedRunError(RunError, ValueError):
    """A file in a run folder was edited, or is that of another run.

    Attributes:
        path: Path of the run folder.
        files: Names of the files that do not belong to the run.
        problem: Clause about a file.
        remedy: What the user can do.
    """

    def __init__(self, path: Path, files: Sequence[str], problem: str, remedy: str) -> None:
        self.path, self.files, self.problem, self.remedy = path, tuple(files), problem, remedy
        named = f"{files[0]} in {path}" if len(files) == 1 else f"Each of {', '.join(files)} in {path}"
        super().__init__(f"{named} {problem}; {remedy}.")


class RunVersionError(RunError, ValueError):
    """A newer version of ganport has written the run.

    Attributes:
        path: Path of the run folder.
        version: Version that has written the run.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.path, self.version = path, version
        super().__init__(
            f"{path} was written by ganport {version}, and this version can't read it; upgrade ganport."
        )


class LayerMismatchError(RunError, ValueError):
    """The weights of trained networks do not fit the networks of a new run.

    Attributes:
        source: Path of the run with the weights, or name of the pretrained networks.
        layer: The first layer that does not fit, such as "the layer dense of the generator".
        there: What this layer has in the trained networks.
        here: What this layer has in the new run.
        remedy: What the user can do.
    """

    def __init__(self, source: str, layer: str, there: str, here: str, remedy: str) -> None:
        self.source, self.layer, self.there, self.here, self.remedy = source, layer, there, here, remedy
        super().__init__(
            f"The weights of {source} do not fit: {layer} has {there} there, and {here} here; {remedy}."
        )


class DivergedError(RunError, ArithmeticError):
    """A loss or a weight is no longer finite."""

    def __init__(self, step: int, losses: Mapping[str, float], kept: int) -> None:
        self.step, self.losses, self.kept = step, dict(losses), kept
        values = [f"{name} {value:g}" for name, value in losses.items()]
        found = ", ".join(values) or "weights that are not finite"
        super().__init__(
            f"Training diverged before step {step} ({found}). The last good checkpoint is that of step "
            f"{kept}. Lower the learning rates or the R1 weight, and train again."
        )


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the training early; the state at that step was saved in a checkpoint.

    The error is a KeyboardInterrupt, so that it stops a script or a notebook as Ctrl-C usually does, and so
    that `except Exception` does not catch it.

    Attributes:
        path: Path of the run folder.
        step: Number of steps that were made; the step of the checkpoint.
        signal: The signal that was received.
    """

    def __init__(self, path: Path, step: int, received: int) -> None:
        self.path, self.step, self.signal = path, step, signal.Signals(received)
        super().__init__(
            f"{self.signal.name} ended the training, and step {step:,} was saved; continue with "
            f"ganport.train(out={str(path)!r}, resume=True)."
        )
