"""Callback: how a training run reports its progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ganport.runtime.arrays import Pixels

if TYPE_CHECKING:
    from ganport.datasets.dataset import Dataset

    from .findings import Finding
    from .recipe import Recipe
    from .run import Run

Metrics = Mapping[str, float]

# The distances that are measured at a checkpoint. Keys: names in the history. Values: names shown to users.
MEASURE_LABELS = {"distance": "pixel distance", "frechet": "Fréchet distance"}


@dataclasses.dataclass(frozen=True)
class TrainingStart:
    """The facts of a training run that is about to begin.

    Attributes:
        run: The run.
        recipe: The recipe, fitted to the data.
        data: The images.
        device: Description of the devices, such as "2 CPU devices".
        first_step: Step from which the training continues; 0 for a new run.
    """

    run: Run
    recipe: Recipe
    data: Dataset
    device: str
    first_step: int


class Callback:
    """Base class for objects that receive the events of a training run.

    A subclass overrides the methods for the events that it handles. If a method raises an error, the training
    ends. In a cluster, only the first process reports progress.
    """

    def on_stage(self, stage: str) -> None:
        """Receive the name of a stage when the stage begins, for example "reading images"."""

    def on_start(self, start: TrainingStart) -> None:
        """Receive the facts of the run, before its networks are built."""

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Receive the number of the newest step, and the mean metrics since the previous call.

        This event comes about once a second. The metrics are d_loss and g_loss, the losses of the two
        networks, and d_accuracy, the share of images that the discriminator classifies correctly.
        """

    def on_log(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Receive the mean metrics since the previous `on_log`. They are already in the history."""

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Receive the preview and the distances of a checkpoint that was saved.

        Args:
            step: The step of the checkpoint.
            preview: Generated images in a grid, uint8 (height, width, channels).
            measures: Distances of generated images to real images: "distance" is the sliced Wasserstein
                distance of the pixels, and "frechet" is the Fréchet distance, if it was measured. Further
                entries are the facts from which findings follow; see `watch.Watch.measure`.
        """

    def on_finding(self, finding: Finding) -> None:
        """Receive what goes wrong in the training. The finding is already in the history.

        This event comes at most once for each kind of finding, after the `on_checkpoint` of its step.
        """

    def on_note(self, line: str) -> None:
        """Receive a line about the images, or about a setting that was chosen for them."""

    def on_warning(self, message: str) -> None:
        """Receive the description of a problem that does not stop the training."""

    def on_end(self) -> None:
        """Receive the end of the training, whether the training succeeded or not. This event comes once."""


class Callbacks(Callback):
    """A callback that passes each event on to several callbacks, in the order in which they were added."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = list(callbacks)

    def add(self, callback: Callback) -> None:
        """Add a callback, which then receives each event after the other callbacks."""
        self._callbacks.append(callback)

    def on_stage(self, stage: str) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_stage(stage)

    def on_start(self, start: TrainingStart) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_start(start)

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_steps(step, metrics, images_per_second)

    def on_log(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_log(step, metrics, images_per_second)

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_checkpoint(step, preview, measures)

    def on_finding(self, finding: Finding) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_finding(finding)

    def on_note(self, line: str) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_note(line)

    def on_warning(self, message: str) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_warning(message)

    def on_end(self) -> None:
        """Pass the event on; see `Callback`."""
        for callback in self._callbacks:
            callback.on_end()
