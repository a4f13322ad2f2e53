"""How good the images of a generator are, measured by the features of a small classifier.

The evaluation needs neither TensorFlow nor a download.

evaluating.py  evaluate returns the Report of a model
measuring.py   measure_images returns the Report of images that are compared with a Reference
report.py      Report: the metrics of a generator's images, and the baseline: metrics of real images
references.py  Reference: the features of real images to compare with, and the baseline
measures.py    the functions that compute the metrics from features, with references to papers
features.py    FeatureNetwork returns the features and label probabilities of images
models/        the classifiers, made by scripts/train_classifiers.py
references/    the features of real images, made by the same script

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
