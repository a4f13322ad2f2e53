"""The bundled classifiers, which compute features and label probabilities of images with onnxruntime."""

from __future__ import annotations

import functools
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

GENERAL_NETWORK = "rock-paper-scissors"  # the network for images of any kind and size
_SIDE = 64  # pixels per side of the images that the general-purpose network takes
_BATCH = 256  # largest number of images in one run of a network


class FeatureNetwork:
    """A small classifier of a public data set. Images are compared by the features that it computes.

    Args:
        name: Name of the data set, a key of LABELS. Only the network of the set GENERAL_NETWORK takes images
            of any size.

    Attributes:
        name: Name of the data set.
        labels: Names of the data set's labels, by index.
    """

    def __init__(self, name: str) -> None:
        self.name, self.labels = name, LABELS[name]
        self._session = open_session(MODELS / f"{name}.onnx", "cpu", usable_cores())

    def extract(self, images: Pixels) -> tuple[Features, Probabilities]:
        """Return the features of images, shape (n, 64), and their label probabilities, shape (n, labels).

        Args:
            images: uint8 (n, height, width, channels), n >= 1.

        Raises:
            EvaluationError: The images are not uint8.
            ImageShapeError: The network does not take images of this shape.
        """
        features: list[Features] = []
        probabilities: list[Probabilities] = []
        for start in range(0, len(images), _BATCH):
            batch = prepare_images(self.name, images[start : start + _BATCH])
            outputs = self._session.run(["features", "probabilities"], {"image": batch})
            features.append(outputs[0])
            probabilities.append(outputs[1])
        return np.concatenate(features), np.concatenate(probabilities)


def check_image_shape(network: str, shape: tuple[int, ...]) -> None:
    """Raise ImageShapeError unless a network takes images of this shape: height, width, channels."""
    size = "x".join(map(str, shape))
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3, 4):
        problem = f"the images are {size}; expected (n, height, width, channels) with 1, 3 or 4 channels"
        raise ImageShapeError(shape, problem)
    if network != GENERAL_NETWORK and shape != (28, 28, 1):
        problem = (
            f"the images are {size}, and those of {network} are 28x28x1; give a folder or a file of real "
            "images of the same kind as `data`"
        )
        raise ImageShapeError(shape, problem)


def prepare_images(network: str, images: Pixels) -> Pixels:
    """Return images in the form that a network takes.

    The networks of MNIST and Fashion-MNIST take 28x28 grey images as they are. The general-purpose network
    takes images of any size. They are resized to 64x64 in colour, on a white background. Each new pixel is
    an average of all pixels that it covers. If resizing skipped pixels, the metrics would depend on the
    resizing more than on the generator (Parmar et al., "On aliased resizing", CVPR 2022).

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
    if network != GENERAL_NETWORK:
        return images
    colours = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else _on_white(images)
    if colours.shape[1:3] == (_SIDE, _SIDE):
        return np.ascontiguousarray(colours)
    resize = functools.partial(Image.Image.resize, size=(_SIDE, _SIDE), resample=Image.Resampling.BICUBIC)
    return np.stack([np.asarray(resize(Image.fromarray(image))) for image in colours])


def _on_white(images: Pixels) -> Pixels:
    """Return images (n, height, width, 3 or 4) on a white background, without transparency.

    Training images with transparent pixels are also put on a white background when they are read.
    """
    if images.shape[-1] == 3:
        return images
    colours, opacity = images[..., :3].astype(np.uint16), images[..., 3:].astype(np.uint16)
    return ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
