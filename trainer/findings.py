"""Findings: what goes wrong in a training run, found in the lines of its history. No TensorFlow is imported.

A finding depends on the history and the recipe alone. So a resumed run has the findings of a run that was
never stopped, and says none of them twice. The limits below were chosen by experiments: docs/log.md has the
figures of runs that went well and of runs that went wrong.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from .recipe import Recipe

_Lines = Sequence[Mapping[str, Any]]  # lines of a history, the oldest first
FindingName = Literal["learning rate", "collapse", "memorising", "copies", "divergence"]

# Names, in the history, of the facts that `watch.Watch` measures at a checkpoint.
GROWTH, VARIETY, MEMORISING, COPIES = FACTS = ("growth", "variety", "memorising", "copies")
_FRECHET, _DISTANCE, _ACCURACY = "frechet", "distance", "d_accuracy"

# Limits. The figures are those of docs/log.md, "Watching a run".
# In runs that went well, the kernels had at most 2.5 times their initial size after 500 steps. With a
# learning rate five times too high, they had 4.6 times that size after 150 steps, and the run recovered. With
# a rate 20 times too high, they had 10 times that size after 100 steps.
MOST_GROWTH = 3.5
EARLY_STEPS = 1_000  # weights of good runs grow, too, but later
# The variety is small as long as a generator has learned little: 0.12 for a slow recipe. So a collapse is a
# fall to less than half of what the variety was before, or a variety that is next to nothing.
LEAST_VARIETY = 0.1
MOST_FALL = 0.5
# Runs that went well had at most 0.14. A discriminator without a penalty on 64 images had 0.4 after 1,000
# steps, and 0.5 at the end.
MOST_MEMORISING = 0.4
MOST_COPIES = 0.2  # runs that went well had at most 0.01
MOST_ACCURACY = 0.99  # 0.95 occurs in runs that go well
MOST_ABOVE_BEST = 1.5
LASTING = 2  # number of measurements in a row that must show a problem, so that chance does not


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that goes wrong in a run. A run has at most one finding of each name.

    Attributes:
        name: What goes wrong, in one or two words.
        step: The step at which it was noticed.
        evidence: The figures from which it follows, as a sentence without a full stop.
        remedy: What to do, as a sentence without a full stop.
    """

    name: FindingName
    step: int
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"step {self.step:,}: {self.name}: {self.evidence}; {self.remedy}"

    def to_line(self) -> dict[str, Any]:
        """Return the line that the history has for the finding."""
        return {"step": self.step, "finding": self.name, "evidence": self.evidence, "remedy": self.remedy}

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Finding:
        """Return the finding of a line of the history, which `to_line` returned."""
        return cls(cast(FindingName, line["finding"]), line["step"], line["evidence"], line["remedy"])


def find_new(recipe: Recipe, lines: _Lines) -> list[Finding]:
    """Return what the newest checkpoint shows to go wrong, without what the history already says.

    Args:
        recipe: The recipe of the run.
        lines: The lines of the history; the last one is that of the newest checkpoint.
    """
    known = {line["finding"] for line in lines if "finding" in line}
    step = lines[-1]["step"]
    findings = []
    for name, (find, remedy) in _RULES.items():
        evidence = "" if name in known else find(recipe, lines)
        if evidence:
            findings.append(Finding(name, step, evidence, remedy(recipe)))
    return findings


def find_not_finite(recipe: Recipe, lines: _Lines, step: int) -> list[Finding]:
    """Return the finding of a run that ends because a loss or a weight is no longer finite.

    The list is empty if the history already says that the run diverges.
    """
    if any(line.get("finding") == "divergence" for line in lines):
        return []
    evidence = "the losses or the weights are no longer finite"
    return [Finding("divergence", step, evidence, _lower_rate(recipe))]


def find_early_stop(recipe: Recipe, lines: _Lines) -> str:
    """Return why the run ends before its last step, in a few words; empty if it goes on.

    Only measurements of the present schedule count, and only those at multiples of the recipe's
    `evaluate_interval`. The first preview is measured, too, but its step depends on the speed of the machine.
    """
    if not recipe.early_stop:
        return ""
    begin = max((line["step"] for line in lines if "steps" in line), default=-1)
    measured = [
        line
        for line in lines
        if _FRECHET in line and line["step"] > begin and line["step"] % recipe.evaluate_interval == 0
    ]
    if not measured:
        return ""
    best = min(measured, key=lambda line: line[_FRECHET])
    later = sum(line["step"] > best["step"] for line in measured)
    if later < recipe.early_stop:
        return ""
    return (
        f"the Fréchet distance has not become smaller in {later} measurements; the smallest is "
        f"{best[_FRECHET]:.3g}, at step {best['step']:,}"
    )


def _find_large_updates(recipe: Recipe, lines: _Lines) -> str:
    growth, step = lines[-1].get(GROWTH, 0.0), lines[-1]["step"]
    if step > EARLY_STEPS or growth < MOST_GROWTH:
        return ""
    return (
        f"it is too high, since the generator's weights have grown to {growth:.1f} times their initial size "
        f"in {step:,} steps (usual: less than {MOST_GROWTH:g})"
    )


def _find_collapse(recipe: Recipe, lines: _Lines) -> str:
    values = _last(lines, VARIETY)
    largest = max((float(line[VARIETY]) for line in lines if VARIETY in line), default=0.0)
    if not values or max(values) >= max(LEAST_VARIETY, MOST_FALL * largest):
        return ""
    return (
        f"the generated images are too much alike: their variety is {values[-1]:.2f} of that of the real "
        f"images, and was up to {largest:.2f} (usual: it grows)"
    )


def _find_memory(recipe: Recipe, lines: _Lines) -> str:
    values = _last(lines, MEMORISING)
    if values and min(values) > MOST_MEMORISING:
        return (
            "the discriminator knows the training images by heart: held-out real images are "
            f"{values[-1]:.0%} of the way from training images to generated ones (usual: less than "
            f"{MOST_MEMORISING:.0%})"
        )
    return _find_perfect_discriminator(recipe, lines)


def _find_perfect_discriminator(recipe: Recipe, lines: _Lines) -> str:
    """Return the evidence that the discriminator memorises, for runs with too few images to hold some out."""
    if not recipe.held_out_share or any(MEMORISING in line for line in lines):
        return ""
    accuracies: list[float] = []  # between the last checkpoints
    between: list[float] = []
    for line in lines:
        if _ACCURACY in line:
            between.append(line[_ACCURACY])
        if _DISTANCE in line and between:
            accuracies.append(sum(between) / len(between))
            between = []
    if len(accuracies) < LASTING or min(accuracies[-LASTING:]) <= MOST_ACCURACY:
        return ""
    return (
        f"the discriminator classifies {accuracies[-1]:.1%} of the images correctly (usual: less than "
        f"{MOST_ACCURACY:.0%}), so it can know the few training images by heart"
    )


def _find_copies(recipe: Recipe, lines: _Lines) -> str:
    values = _last(lines, COPIES)
    if not values or min(values) <= MOST_COPIES:
        return ""
    return f"{values[-1]:.0%} of the generated images are copies of a training image (usual: about 1%)"


def _find_divergence(recipe: Recipe, lines: _Lines) -> str:
    measured = [line for line in lines if _FRECHET in line]
    if len(measured) < LASTING + 1:
        return ""
    values = [line[_FRECHET] for line in measured[-LASTING - 1 :]]
    best = min(measured, key=lambda line: line[_FRECHET])
    is_growing = all(earlier < later for earlier, later in itertools.pairwise(values))
    if not is_growing or min(values[1:]) < MOST_ABOVE_BEST * best[_FRECHET]:
        return ""
    return (
        f"the images get worse: the Fréchet distance grows, to {values[-1]:.3g}; the best was "
        f"{best[_FRECHET]:.3g} at step {best['step']:,}"
    )


def _last(lines: _Lines, name: str) -> list[float]:
    """Return the last values of a fact; [] if there are too few, or if the newest line has none."""
    values = [float(line[name]) for line in lines if name in line]
    return values[-LASTING:] if name in lines[-1] and len(values) >= LASTING else []


def _lower_rate(recipe: Recipe) -> str:
    rate = recipe.generator_optimizer.learning_rate / 10
    return f"train again with `--set learning_rate={rate:g}`"


def _more_images(recipe: Recipe) -> str:
    missing = []
    if not recipe.diff_augment:
        missing.append("`--set diff_augment=translation,cutout`")
    if not recipe.r1_weight:
        missing.append("`--set r1_weight=1`")
    if missing:
        return f"train again with {' and '.join(missing)}, and with more images if there are any"
    return "more images are the remedy; without them, `export` takes the best checkpoint"


def _more_variety(recipe: Recipe) -> str:
    weight = 4 * recipe.r1_weight or 1
    return f"train again with `--set r1_weight={weight:g}`, or with a lower `--set learning_rate`"


def _take_best(recipe: Recipe) -> str:
    return f"`export` takes the best checkpoint; for a better one {_lower_rate(recipe)}"


_RULES: Mapping[FindingName, tuple[Callable[[Recipe, _Lines], str], Callable[[Recipe], str]]] = {
    "learning rate": (_find_large_updates, _lower_rate),
    "collapse": (_find_collapse, _more_variety),
    "memorising": (_find_memory, _more_images),
    "copies": (_find_copies, _more_images),
    "divergence": (_find_divergence, _take_best),
}
