"""How good a generator is: figures in the features of a small classifier, without TensorFlow and without a download.

    measures.py    the figures, each with its paper; arrays in, a number out
    features.py    the classifiers that come with the package: images in, features and probabilities out
    references.py  the real images that figures compare with, as features, and what real images score themselves; one's own, too
    report.py      all the figures of a generator, with their protocol
    models/        the classifiers, references/ the real images, made by scripts/train_classifiers.py

Imports the runtime, and no other package of the project.
"""

from .features import LABELS, FeatureNetwork
from .references import Reference, load_reference, own_reference
from .report import Report, check_images, evaluate

__all__ = ["LABELS", "FeatureNetwork", "Reference", "Report", "check_images", "evaluate", "load_reference", "own_reference"]
