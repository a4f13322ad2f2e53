"""Report: the table fits a terminal, and the sentences say what was compared with what."""

import dataclasses
import json

import numpy as np
import pytest

from ganport.datasets import LABELS
from ganport.evaluation import build_reference, load_reference, measure_images
from ganport.evaluation.report import HEADINGS


@pytest.fixture(scope="module")
def report(reference, digits):
    """A report with all its figures."""
    images, labels = digits.images[:600], digits.labels[:600]
    measured = measure_images(reference, images, training=digits.images[600:], labels=labels)
    return dataclasses.replace(measured, model="a<b>.onnx", seeds="0-599", truncation=0.5, notes=("x < y",))


def width_of(rows):
    return sum(max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)) + 2 * (
        len(HEADINGS) - 1
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "rock-paper-scissors" else name
        for name in LABELS
    ],
)
def test_the_table_fits_a_terminal_even_for_noise(name):
    reference = load_reference(name)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28, 1), dtype=np.uint8)
    training = images if reference.is_held_out else None
    measured = measure_images(reference, images, training=training, labels=reference.matching_labels(500))
    assert width_of(measured.rows()) <= 80


def test_the_table_of_own_images_fits_a_terminal(digits):
    own = build_reference(dataclasses.replace(digits, name="mine", images=digits.images[::20], labels=None))
    rows = measure_images(own, digits.images[::20] // 2).rows()
    expected = ["Fréchet distance", "kernel distance", "precision", "recall", "density", "coverage"]
    assert [row[0] for row in rows] == expected
    assert width_of(rows) <= 80


def test_the_table_has_a_baseline_and_a_meaning_for_each_figure(report):
    rows = {row[0].strip(): row[1:] for row in report.rows()}
    assert rows["Fréchet distance"][1] == "0.030 (0.027 to 0.035)"
    assert rows["Fréchet distance"][0] == f"{report.frechet:.2f} ± {report.margins['frechet']:.2f}"
    assert rows["coverage"][0] == f"{report.coverage:.3f} ± {report.margins['coverage']:.3f}"
    assert rows["label accuracy"][1:] == ("99.4%", "as requested")
    assert rows["nearest in training"][1:] == ("68.8%", "copies raise it")
    assert rows["label entropy"][2] == "of 3.322 bits"
    assert [f"{share:.1%}" for share in report.shares] == [rows[label][0] for label in LABELS["mnist"]]
    assert all(all(row) for row in report.rows())


def test_the_description_says_what_was_compared_with_what(report):
    assert report.describe() == (
        "600 images of a<b>.onnx (seeds 0-599, truncation 0.5) are compared with 2,000 real images (the "
        "test split of mnist) by 64 features of a classifier of mnist. The baseline compares 10,000 other "
        "real images with them: the training split, mean of 6 parts, with the same label frequencies. The "
        "labels were requested with the frequencies of the training split. Nearest in training is the "
        "share of the images whose nearest real image is a training image, and not a held-out one. The "
        "margins (±) are confidence intervals of 95 %, for other seeds and other real images, as many as "
        "these. "
        "Compare these figures only with those of 600 images: with fewer images, the Fréchet distance and "
        "recall are larger."
    )


@pytest.mark.slow
def test_the_description_of_own_images_names_the_general_purpose_network(digits):
    data = dataclasses.replace(digits, name="mine", images=digits.images[::20], labels=digits.labels[::20])
    own = build_reference(data)
    report = measure_images(own, digits.images[1::40], labels=digits.labels[1::40])
    assert report.describe() == (
        "125 images are compared with 125 real images (half of the images of mine) by 128 features of "
        "EfficientNet-Lite0, a network that was trained on ImageNet. The baseline compares 125 other real "
        "images with them: the other half, mean of 10 random splits. The labels were requested with the "
        "frequencies of the data. The margins (±) are confidence intervals of 95 %, for other seeds and "
        "other real images, as many as these."
    )
    assert "labels" not in measure_images(own, digits.images[1::40]).describe()


def test_repr_shows_the_main_figures_beside_the_baseline(report):
    lines = repr(report).splitlines()
    assert lines[0] == "<Report: 600 images of a<b>.onnx compared with mnist"
    assert lines[1].split() == [
        "Fréchet",
        "distance",
        f"{report.frechet:.2f}",
        "±",
        f"{report.margins['frechet']:.2f}",
        "baseline",
        "0.030",
        "(0.027",
        "to",
        "0.035)",
    ]
    assert len(lines) == 11
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("68.8%>")


def test_html_shows_the_table_the_description_and_the_notes(report):
    shown = report._repr_html_()
    assert shown.count("<tr>") == len(report.rows()) + 1
    assert "<th>baseline (real vs. real)</th>" in shown
    assert "600 images of a&lt;b&gt;.onnx" in shown
    assert "<p>x &lt; y</p>" in shown


def test_to_dict_is_json(report):
    document = json.loads(json.dumps(report.to_dict()))
    assert list(document)[:6] == ["model", "sha256", "provider", "seeds", "truncation", "data"]
    assert document["notes"] == ["x < y"]
    assert document["baseline"]["images"] == 10_000
