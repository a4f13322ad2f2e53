"""Report: the metrics of generated images, the baseline, and a description of the comparison."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence
from typing import Any

from .features import GENERAL_NETWORK

_Row = tuple[str, str, str, str]

HEADINGS = ("figure", "value", "baseline (real vs. real)", "meaning")
# Each row describes one metric: its heading, name, number format and meaning. The name is both an attribute
# of Report and a key of `Report.baseline`. An empty format stands for four digits or a little more.
_FIGURES = (
    ("Fréchet distance", "frechet", "", "smaller is better"),
    ("kernel distance", "kernel", "", "smaller is better"),
    ("precision", "precision", ".3f", "images near real"),
    ("recall", "recall", ".3f", "real near images"),
    ("density", "density", ".3f", "images near real"),
    ("coverage", "coverage", ".3f", "real near images"),
    ("confidence", "confidence", ".3f", "of predictions"),
    ("label entropy", "entropy", ".3f", "in bits"),
    ("label accuracy", "label_accuracy", ".1%", "as requested"),
    ("nearest in training", "nearest_in_training", ".1%", "copies raise it"),
)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Report:
    """The metrics of generated images.

    Attributes:
        model: File name of the model; empty if images were measured without a model, or the model was given
            as bytes.
        sha256: Hash of the model's file in hex.
        provider: Execution provider on which the images were generated.
        seeds: Seeds of the images, as a text such as "0-999".
        truncation: Factor by which the latents were scaled towards their mean.
        data: Name of the data set that the images are compared with.
        network: Name of the network that extracted the features: that of the data set whose classifier it is,
            or "imagenet" for the general-purpose network.
        protocol: Two texts: what the real images are, and what the images of the baseline are.
        images: Number of generated images.
        real: Number of real images.
        frechet: Fréchet distance; see `measures.frechet_distance`.
        kernel: Kernel distance; see `measures.kernel_distance`.
        precision: Share of the generated images on the manifold of the real ones; see
            `neighbours.Neighbourhoods`.
        recall: Share of the real images on the manifold of the generated ones.
        density: Mean number of real images in whose neighbourhood a generated image lies, divided by 5.
        coverage: Share of the real images with a generated image in their neighbourhood.
        margins: Mapping from the names of these six metrics to half of the width of their confidence interval
            of 95 %; see `comparison.estimate_margins`. Empty for more than 2,000 images.
        labels: Names of the labels that the network predicts; empty if the network is not a classifier of
            this data set.
        shares: Share of the images with each predicted label; empty without labels.
        entropy: Entropy of the shares in bits; None without labels.
        confidence: Mean probability of the predicted label; None without labels.
        nearest_in_training: Share of the images whose nearest real image is a training image and not a
            held-out one; see `neighbours.nearest_in_training`. None if there are no training images, or if
            the real images are not held out.
        label_accuracy: Share of the images whose predicted label is the requested label; None without
            requested labels.
        baseline: Mapping from the names of the metrics to their values for other real images. The entry
            "images" is the number of these other images.
        labels_requested: Whether a label was requested for each image. If so, the label frequencies are
            those of the training split, or of the user's own images.
        baseline_label_matched: Whether the images of the baseline have exactly the requested label
            frequencies.
        notes: Remarks on the comparison that a reader of the metrics should know.
    """

    model: str = ""
    sha256: str = ""
    provider: str = ""
    seeds: str = ""
    truncation: float = 1.0
    data: str
    network: str
    protocol: tuple[str, str]
    images: int
    real: int
    frechet: float
    kernel: float
    precision: float
    recall: float
    density: float
    coverage: float
    margins: dict[str, float]
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    entropy: float | None
    confidence: float | None
    nearest_in_training: float | None
    label_accuracy: float | None
    baseline: dict[str, Any]
    labels_requested: bool
    baseline_label_matched: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return dataclasses.asdict(self)

    def rows(self) -> list[_Row]:
        """Return the metrics as rows of texts, in the columns of HEADINGS."""
        rows = self._figure_rows()
        if self.labels:
            for label, share, real_share in zip(
                self.labels, self.shares, self.baseline["shares"], strict=True
            ):
                rows.append((f"  {label}", f"{share:.1%}", f"{real_share:.1%}", "of predicted labels"))
        return rows

    def describe(self) -> str:
        """Return a description of the comparison, in sentences."""
        facts = [f"seeds {self.seeds}"] if self.seeds else []
        if self.truncation != 1:
            facts.append(f"truncation {self.truncation:g}")
        images = self._images() + (f" ({', '.join(facts)})" if facts else "")
        network = f"64 features of a classifier of {self.network}"
        if self.network == GENERAL_NETWORK:
            network = "128 features of EfficientNet-Lite0, a network that was trained on ImageNet"
        count, matched = self.baseline["images"], ""
        if self.baseline_label_matched:
            matched = ", with the same label frequencies"
        sentences = [
            f"{images} are compared with {self.real:,} real images ({self.protocol[0]} of {self.data}) by "
            f"{network}.",
            f"The baseline compares {count:,} other real images with them: {self.protocol[1]}{matched}.",
        ]
        if self.labels_requested:
            whole = "training split" if self.labels else "data"
            sentences.append(f"The labels were requested with the frequencies of the {whole}.")
        if self.nearest_in_training is not None:
            sentences.append(
                "Nearest in training is the share of the images whose nearest real image is a training "
                "image, and not a held-out one."
            )
        if self.margins:
            sentences.append(
                "The margins (±) are confidence intervals of 95 %, for other seeds and other real images, as "
                "many as these."
            )
        if self.images != count:
            sentences.append(
                f"Compare these figures only with those of {self.images:,} images: with fewer images, the "
                "Fréchet distance and recall are larger."
            )
        return " ".join(sentences)

    def __repr__(self) -> str:
        lines = [f"<Report: {self._images()} compared with {self.data}"]
        for figure, value, baseline, _ in self._figure_rows():
            lines.append(f"  {figure:<19} {value:>8}   baseline {baseline}")
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str:
        """Return the metrics, the description and the notes as HTML, for display in a notebook."""
        lines = ["<table>", _html_row("th", HEADINGS)]
        lines += [_html_row("td", row) for row in self.rows()]
        lines.append("</table>")
        lines += [f"<p>{html.escape(text)}</p>" for text in (self.describe(), *self.notes)]
        return "\n".join(lines)

    def _images(self) -> str:
        return f"{self.images:,} images" + (f" of {self.model}" if self.model else "")

    def _figure_rows(self) -> list[_Row]:
        """Return the rows of all measured metrics, without the shares of the labels."""
        rows = []
        for heading, name, form, meaning in _FIGURES:
            value = getattr(self, name)
            if value is None:
                continue
            if name == "entropy":
                meaning = f"of {math.log2(len(self.labels)):.3f} bits"
            rows.append((heading, self._value(name, form), self._baseline(name, form), meaning))
        return rows

    def _value(self, name: str, form: str) -> str:
        """Return the value of a metric and its margin as text."""
        value = getattr(self, name)
        form = form or _digits(value)
        margin = f" ± {self.margins[name]:{form}}" if name in self.margins else ""
        return f"{value:{form}}{margin}"

    def _baseline(self, name: str, form: str) -> str:
        """Return the baseline of a metric as text, with the smallest and the largest value of its parts."""
        form = form or _digits(self.baseline[name])
        parts: Sequence[float] = self.baseline.get(f"{name}_of_parts", ())
        spread = f" ({min(parts):{form}} to {max(parts):{form}})" if len(parts) > 1 else ""
        return f"{self.baseline[name]:{form}}{spread}"


def _digits(value: float) -> str:
    """Return the format that shows a distance with three decimals, or with fewer if it is 10 or more.

    >>> [format(value, _digits(value)) for value in (0.0301, 9.8765, 98.765, 987.65, 9876.5)]
    ['0.030', '9.877', '98.77', '987.6', '9876']
    """
    whole = len(str(int(abs(value))))
    return f".{max(0, 4 - whole)}f"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
