"""Run: access to the results of a training run."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganport.runtime.errors import ModelNotFoundError

from .errors import CheckpointError, RunNotFoundError
from .run_folder import RunFolder
from .start_weights import read_start

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganport.runtime import Sampler

    from .recipe import Recipe


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Run:
    """A training run, with access to its results. `train` returns a Run; Run(path) opens an existing run.

    Args:
        path: Path of the run folder.

    Raises:
        RunNotFoundError: There is no run in the folder.

    Example::

        run = ganport.train("digits")
        run.preview()  # the generator's images of seeds 0-63
        ganport.export(run)
        images = run.sampler().sample(range(64))
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))
        if not self._folder.exists():
            raise RunNotFoundError(self.path)

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.path)

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe of the run. If the run has a copy of a recipe file, the copy is executed."""
        return self._folder.load_recipe()

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of the history, the oldest line first.

        Each line has a step. A line of metrics has the means since the previous line of metrics: d_loss,
        g_loss, d_accuracy and images_per_second. A line of a checkpoint has the distances of its generated
        images to real images: "distance" is the sliced Wasserstein distance of the pixels, and "frechet" is
        the Fréchet distance, if it was measured.
        """
        return self._folder.read_history()

    @property
    def start(self) -> dict[str, Any] | None:
        """The origin of the weights from which the training started; None if they were random.

        The keys "source", "step" and "fingerprint" are the path of the other run, or the name of pretrained
        networks, the step of its checkpoint, and the SHA-256 of this file. The others describe the recipe and
        the images of that run. "start" is the origin of its own weights.
        """
        return read_start(self._folder)

    @property
    def step(self) -> int:
        """The step of the newest checkpoint; 0 if there is no checkpoint."""
        return max(self._folder.checkpoint_steps(), default=0)

    def preview(self, step: int | None = None) -> Image:
        """Return the preview of a checkpoint: images of seeds 0-63, or of fewer seeds for large images.

        Args:
            step: Step of the checkpoint; by default that of the newest preview.

        Raises:
            CheckpointError: There is no preview of this step, or no preview yet.
        """
        from PIL import Image

        with Image.open(self._preview_file(step)) as image:
            image.load()
            return image.copy()

    def sampler(self, **options: Any) -> Sampler:
        """Return a Sampler of the exported generator, generator.onnx in the run folder.

        Args:
            options: Keyword arguments of `Sampler`.

        Raises:
            ModelNotFoundError: The run is not exported yet.
            GanportError: An option is not valid; see `Sampler`.
        """
        from ganport.runtime import Sampler

        model = self._folder.onnx_file
        if not model.exists():
            raise ModelNotFoundError(model, "the run is not exported", "call `ganport.export(run)` first")
        return Sampler(model, **options)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        recipe = self._folder.read_recipe()
        measured = self._folder.measured_at(self.step)
        measures = "".join(f", {name} {value:.3g}" for name, value in measured.items())
        return (
            f"<Run {str(self.path)!r} of {recipe.name!r}, step {self.step:,} of {recipe.steps:,}{measures}>"
        )

    def _repr_png_(self) -> bytes | None:
        """Return the newest preview as a PNG file, for display in a notebook; None if there is no preview."""
        previews = self._folder.preview_files()
        return previews[-1].read_bytes() if previews else None

    def _preview_file(self, step: int | None) -> Path:
        previews = self._folder.preview_files()
        if step is None and previews:
            return previews[-1]
        if step is not None and self._folder.preview_file(step).exists():
            return self._folder.preview_file(step)
        steps = ", ".join(str(int(file.stem.removeprefix("step-"))) for file in previews)
        missing = "there is no preview yet" if step is None else f"there is no preview of `step` {step}"
        raise CheckpointError(self.path, f"{missing}; steps with a preview: {steps or 'none'}.")
