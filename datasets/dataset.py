"""Dataset: images to train on or to compare with, and how they were prepared."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import Pixels

from .array_files import ClassIndices
from .folder import ImageFolder
from .preparation import Preparation

__all__ = ["Dataset", "Preparation"]


@dataclasses.dataclass(frozen=True, repr=False)
class Dataset:
    """Images to train on or to compare with.

    Attributes:
        name: Name to show to people, without a path.
        source: Argument with which `load_images` loads the same images again: an absolute path, or the
            name of a named set.
        licence: Licence of the images; "unknown" for the user's own images.
        images: Images, uint8 (n, height, width, channels), with n >= 1 and 1, 3 or 4 channels. They are an
            array, or an ImageFolder if a folder's images need more memory than `Preparation.memory_limit`.
        classes: Mapping from the name of each class to its number of images. A class is a sub-folder or a
            label. The mapping is empty if there are no classes.
        labels: Class of each image, as an index into `classes`, int32 (n,); None if there are no classes.
        unlabelled: Reason why the labels in the data can't be used; empty if they are used, or if the data
            has no labels.
        preparation: How the images were prepared.
        skipped: Mapping from the name of each unreadable image that was left out to the reason.
    """

    name: str
    source: str
    licence: str
    images: Pixels | ImageFolder
    classes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    preparation: Preparation = dataclasses.field(default_factory=Preparation)
    labels: ClassIndices | None = None
    unlabelled: str = ""
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    @property
    def is_labelled(self) -> bool:
        """Whether the images have two classes or more, so that a generator can learn labels from them."""
        return self.labels is not None and len(self.classes) > 1

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.images.shape[0])

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"<Dataset {self.name!r}, {self.count:,} images of {height}x{width}x{channels}{classes}>"

    def take(self, indices: npt.NDArray[np.int32] | range) -> Pixels:
        """Return the images with the given indices. Raises DatasetContentError."""
        return self.images.take(indices) if isinstance(self.images, ImageFolder) else self.images[indices]

    def facts(self) -> dict[str, Any]:
        """Return the facts about the data that are recorded in a model file, as JSON types."""
        return {"name": self.name, "images": self.count, "licence": self.licence}

    def fingerprint(self) -> str:
        """Return a hash of the images. The same images in the same order have the same hash."""
        if isinstance(self.images, ImageFolder):
            return self.images.fingerprint()
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def labels_fingerprint(self) -> str:
        """Return a hash of the class indices; empty if there are no classes."""
        return "" if self.labels is None else hashlib.sha256(self.labels.astype("<i4").tobytes()).hexdigest()
