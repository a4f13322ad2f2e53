"""The classifiers that come with the package: images in, features and probabilities out, through onnxruntime."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganport.runtime.errors import EvaluationError
from ganport.runtime.providers import open_session, usable_cores

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float32]

MODELS = Path(__file__).parent / "models"

# The classes of each set, in the order of its labels.
LABELS: Mapping[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        *("t-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle-boot"),
    ),
    "rock-paper-scissors": ("paper", "rock", "scissors"),
}
FOLDERS = "rock-paper-scissors"  # the network for pictures of any kind
_PARTS = {"digits": "mnist"}  # sets that are a part of another
_SIDE = 64  # of the images that it takes
_BATCH = 256


def whole_set(name: str) -> str:
    """Return the set that a set of this name is a part of, or the name itself.

    >>> whole_set("digits"), whole_set("fashion-mnist")
    ('mnist', 'fashion-mnist')
    """
    return _PARTS.get(name, name)


class FeatureNetwork:
    """A classifier of a public set, used for what it sees.

    Attributes:
        name: a key of LABELS. The one of rock-paper-scissors takes images of any size, for folders of pictures of any kind.
        labels: of its classes.
    """

    def __init__(self, name: str) -> None:
        self.name, self.labels = name, LABELS[name]
        self._session = open_session(MODELS / f"{name}.onnx", "cpu", usable_cores())

    def judge(self, images: Pixels) -> tuple[Numbers, Numbers]:
        """Return features, shape (n, 64), and probabilities, shape (n, classes), of images.

        Args:
            images: uint8 (n, height, width, channels).

        Raises:
            EvaluationError: images of a shape that the network was not made for.
        """
        parts = (prepare(self.name, images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))
        found = [self._session.run(["features", "probabilities"], {"image": part}) for part in parts]
        features, probabilities = (np.concatenate(each) for each in zip(*found, strict=True))
        return features, probabilities


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Raise EvaluationError where a set's network does not take images of this shape: height, width, channels."""
    size = "x".join(map(str, shape))
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3, 4):
        raise EvaluationError(f"these are {size}, not images of 1, 3 or 4 channels: (n, height, width, channels)")
    if name != FOLDERS and shape != (28, 28, 1):
        raise EvaluationError(
            f"{name} has images of 28x28x1, these are {size}; give --data and a folder or file of real ones "
            "to compare in the features for pictures of any kind"
        )


def _on_white(images: Pixels) -> Pixels:
    """Return images (n, height, width, 3 or 4) without transparency, as a viewer shows them and training takes them."""
    if images.shape[-1] == 3:
        return images
    colours, opacity = images[..., :3].astype(np.uint16), images[..., 3:].astype(np.uint16)
    return ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def prepare(name: str, images: Pixels) -> Pixels:
    """Return images as the network of a set takes them: digits and clothes as they are, others 64x64 in colour, on white.

    Resizing averages over all the pixels that a new one covers; without that, figures tell resizers apart, not generators
    (Parmar et al., "On aliased resizing", CVPR 2022).

    Raises:
        EvaluationError: numbers that are no uint8; digits or clothes that are not 28x28 grey.
    """
    if images.dtype != np.uint8:
        raise EvaluationError(f"images are uint8, not {images.dtype}; `runtime.to_uint8` makes them of numbers in [-1, 1]")
    check_shape(name, images.shape[1:])
    if name != FOLDERS:
        return images
    colours = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else _on_white(images)
    if colours.shape[1:3] == (_SIDE, _SIDE):
        return np.ascontiguousarray(colours)
    resize = functools.partial(Image.Image.resize, size=(_SIDE, _SIDE), resample=Image.Resampling.BICUBIC)
    return np.stack([np.asarray(resize(Image.fromarray(image))) for image in colours])
