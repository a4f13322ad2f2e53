"""Measure how good a generator's images are, by the features that a bundled network computes.

The evaluation needs neither TensorFlow nor a download.

evaluating.py  evaluate returns the Report of a model
measuring.py   measure_images compares images with a Reference, and returns the Report
report.py      Report: the metrics of a generator's images, and the same metrics of real images as a baseline
references.py  Reference: the features of real images to compare with, and the baseline
comparison.py  all metrics of two sets of features, and their margins
measures.py    Fréchet distance, kernel distance and metrics of predicted labels
neighbours.py  precision, recall, density, coverage, and copies of training images
features.py    FeatureNetwork returns the features and label probabilities of images
models/        the networks, made by scripts/make_feature_network.py and scripts/train_classifiers.py
references/    the features of real images, made by scripts/train_classifiers.py

This package imports datasets and runtime, and no other package of the project.
"""

from .evaluating import evaluate
from .features import FeatureNetwork
from .measuring import measure_images
from .references import Reference, build_reference, load_reference
from .report import Report

__all__ = [
    "FeatureNetwork",
    "Reference",
    "Report",
    "build_reference",
    "evaluate",
    "load_reference",
    "measure_images",
]
