"""The bundled networks, which compute features and label probabilities of images with onnxruntime."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ganport.datasets.named import LABELS
from ganport.runtime.arrays import Pixels
from ganport.runtime.cores import usable_cores
from ganport.runtime.providers import open_session

from .errors import EvaluationError, ImageShapeError
from .measures import Features, Probabilities

MODELS = Path(__file__).parent / "models"

SET_NETWORKS = ("mnist", "fashion-mnist")  # data sets whose images are compared by a classifier of the set
GENERAL_NETWORK = "imagenet"  # the network for images of any kind and size
GENERAL_SIDE = 96  # pixels per side of the images that the general-purpose network takes
# Pixels per side of the images that a network takes, for the networks that take images of any size.
_SIDES = {GENERAL_NETWORK: GENERAL_SIDE, "rock-paper-scissors": 64}
_BATCHES = {GENERAL_NETWORK: 32}  # largest number of images in one run of a network, if it is not _BATCH
_BATCH = 256


class FeatureNetwork:
    """A network that computes features of images. Images are compared by their features.

    Args:
        name: GENERAL_NETWORK for the network that takes images of any kind and size, or the name of a data
            set, a key of LABELS, for the classifier of that set.

    Attributes:
        name: Name of the network.
        labels: Names of the labels that the network predicts, by index; the general-purpose network has none.
    """

    def __init__(self, name: str) -> None:
        self.name, self.labels = name, LABELS.get(name, ())
        self._session = open_session(MODELS / f"{name}.onnx", "cpu", usable_cores())

    def extract(self, images: Pixels, *, side: int | None = None) -> tuple[Features, Probabilities]:
        """Return the features of images, shape (n, d), and their label probabilities, shape (n, labels).

        The general-purpose network has 128 features and no labels. The classifiers have 64 features.

        Args:
            images: uint8 (n, height, width, channels), n >= 1.
            side: Pixels per side to which the images are resized first; see `prepare_images`.

        Raises:
            EvaluationError: The images are not uint8.
            ImageShapeError: The network does not take images of this shape.
        """
        outputs = ["features", "probabilities"] if self.labels else ["features"]
        size = _BATCHES.get(self.name, _BATCH)
        features: list[Features] = []
        probabilities: list[Probabilities] = []
        for start in range(0, len(images), size):
            batch = prepare_images(self.name, images[start : start + size], side=side)
            results = self._session.run(outputs, {"image": batch})
            features.append(results[0])
            probabilities.append(results[1] if self.labels else np.empty((len(batch), 0), np.float32))
        return np.concatenate(features), np.concatenate(probabilities)


def extract_all(
    network: str, classifier: str, batches: Iterable[Pixels], *, side: int | None = None
) -> tuple[Features, Probabilities]:
    """Return the features of all images, shape (n, d), and their label probabilities, shape (n, labels).

    Args:
        network: Name of the network that extracts the features, as for `FeatureNetwork`.
        classifier: Name of the network that predicts the labels. If it is empty, the shape is (n, 0).
        batches: Batches of images, uint8 (any number, height, width, channels).
        side: Pixels per side to which the images are resized first; see `prepare_images`.
    """
    extractor = FeatureNetwork(network)
    predictor = extractor if classifier in ("", network) else FeatureNetwork(classifier)
    features: list[Features] = [np.empty((0, 0), np.float32)]
    probabilities: list[Probabilities] = [np.empty((0, 0), np.float32)]
    for images in filter(len, batches):
        extracted, predicted = extractor.extract(images, side=side)
        if predictor is not extractor:
            _, predicted = predictor.extract(images, side=side)
        features.append(extracted)
        probabilities.append(predicted)
    if len(features) == 1:
        return features[0], probabilities[0]
    return np.concatenate(features[1:]), np.concatenate(probabilities[1:])


def network_for(data: str, image_shape: tuple[int, ...]) -> str:
    """Return the name of the network that compares the images of a data set.

    Args:
        data: Name of the data set.
        image_shape: Height, width and channels of its images.

    >>> network_for("mnist", (28, 28, 1)), network_for("mnist", (32, 32, 3))
    ('mnist', 'imagenet')
    """
    return data if data in SET_NETWORKS and image_shape == (28, 28, 1) else GENERAL_NETWORK


def check_image_shape(network: str, shape: tuple[int, ...]) -> None:
    """Raise ImageShapeError unless a network takes images of this shape: height, width, channels."""
    size = "x".join(map(str, shape))
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3, 4):
        problem = f"the images are {size}; expected (n, height, width, channels) with 1, 3 or 4 channels"
        raise ImageShapeError(shape, problem)
    if network not in _SIDES and shape != (28, 28, 1):
        problem = (
            f"the images are {size}, and those of {network} are 28x28x1; give a folder or a file of real "
            "images of the same kind as `data`"
        )
        raise ImageShapeError(shape, problem)


def prepare_images(network: str, images: Pixels, *, side: int | None = None) -> Pixels:
    """Return images in the form that a network takes.

    The networks of MNIST and Fashion-MNIST take 28x28 grey images as they are. The general-purpose network
    takes images of any size. They are resized to 96x96 in colour, on a white background. The classifier of
    Rock-Paper-Scissors takes images of any size, too, and they are resized to 64x64.

    Args:
        network: Name of the network, as for `FeatureNetwork`.
        images: uint8 (n, height, width, channels).
        side: Pixels per side to which the images are resized first. Real and generated images have to have
            the same number of pixels before they are enlarged. Otherwise the smaller ones would look blurred
            beside the larger ones.

    Raises:
        EvaluationError: The images are not uint8.
        ImageShapeError: The network does not take images of this shape.
    """
    if images.dtype != np.uint8:
        raise EvaluationError(
            f"the images are {images.dtype}, expected uint8; ganport.runtime.to_uint8 converts images in "
            "[-1, 1]"
        )
    check_image_shape(network, images.shape[1:])
    if network not in _SIDES:
        return images
    colours = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else _on_white(images)
    if side is not None:
        colours = _resize(colours, side)
    return _resize(colours, _SIDES[network])


def _resize(images: Pixels, side: int) -> Pixels:
    """Return images (n, height, width, 3) in the size (n, side, side, 3).

    Each new pixel is an average of all pixels that it covers. If resizing skipped pixels, the metrics would
    depend on the resizing more than on the generator (Parmar et al., "On aliased resizing", CVPR 2022).
    """
    if images.shape[1:3] == (side, side):
        return np.ascontiguousarray(images)
    resize = functools.partial(Image.Image.resize, size=(side, side), resample=Image.Resampling.BICUBIC)
    return np.stack([np.asarray(resize(Image.fromarray(image))) for image in images])


def _on_white(images: Pixels) -> Pixels:
    """Return images (n, height, width, 3 or 4) on a white background, without transparency.

    Training images with transparent pixels are also put on a white background when they are read.
    """
    if images.shape[-1] == 3:
        return images
    colours, opacity = images[..., :3].astype(np.uint16), images[..., 3:].astype(np.uint16)
    return ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
