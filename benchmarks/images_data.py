"""Images for `benchmarks.images`: a split into training and held-out images, and random colours."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganport.datasets import load_images
from ganport.runtime.arrays import Pixels
from ganport.runtime.files import replacing
from ganport.runtime.png import encode_pngs

_SPLIT_SEED = 0  # The split is the same for all seeds of training, so that their figures compare.
_FACTS = "split.json"


class BenchmarkError(Exception):
    """A mistake of the user, such as too few images. The text says what to do."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Images of one size, split at random.

    Attributes:
        folder: Folder of the training images as PNG files, with a sub-folder per label if there are labels.
        array_file: The training images as an .npz file: uint8 (n, height, width, 3), named "images".
        training: The training images.
        held_out: Images that no candidate sees, with which the generated images are compared.
        others: More images that no candidate sees, for the baseline; empty if no images are left.
    """

    folder: Path
    array_file: Path
    training: Pixels
    held_out: Pixels
    others: Pixels

    @property
    def image_size(self) -> int:
        """Pixels per side."""
        return int(self.training.shape[1])

    @property
    def is_labelled(self) -> bool:
        """Whether the training images lie in a sub-folder per label."""
        return any(path.is_dir() for path in self.folder.iterdir())


def split_images(source: Path, out: Path, *, image_size: int, training: int | None, held_out: int) -> Split:
    """Return a split of the images of a folder, and write the training images. An equal split is kept.

    Args:
        source: Folder of images.
        out: Folder for the training images.
        image_size: Pixels per side.
        training: Number of training images; None for all that are not held out.
        held_out: Number of held-out images.

    Raises:
        BenchmarkError: There are too few images, or `out` holds the split of other images.
    """
    data = load_images(source, image_size=image_size, channels=3)
    count = data.count - held_out if training is None else training
    if count < 1 or data.count < count + held_out:
        needed = held_out + max(count, 1)
        raise BenchmarkError(f"{source} has {data.count:,} images; the comparison needs {needed:,} or more")
    order = np.random.default_rng(_SPLIT_SEED).permutation(data.count).astype(np.int32)
    labels = np.asarray(data.labels)[order] if data.labels is not None and data.is_labelled else None
    images = data.take(order)
    split = Split(
        out / "training",
        out / "training.npz",
        training=images[held_out : held_out + count],
        held_out=images[:held_out],
        others=images[held_out + count :],
    )
    facts = {"data": data.fingerprint(), "training": count, "held_out": held_out, "image_size": image_size}
    if (out / _FACTS).exists():
        if json.loads((out / _FACTS).read_text()) != facts:
            raise BenchmarkError(f"{out} holds the results of other images; give another folder as --out")
        return split
    shutil.rmtree(split.folder, ignore_errors=True)
    names = None
    if labels is not None:
        names = [list(data.classes)[label] for label in labels[held_out : held_out + count]]
    write_folder(split.training, split.folder, names)
    np.savez(split.array_file, images=split.training)
    with replacing(out / _FACTS) as temporary:
        temporary.write_text(json.dumps(facts))
    return split


def write_folder(images: Pixels, folder: Path, labels: list[str] | None = None) -> None:
    """Write images as PNG files into a new folder, or into a sub-folder per label."""
    folder.mkdir(parents=True)
    for index, content in enumerate(encode_pngs(images)):
        parent = folder if labels is None else folder / labels[index]
        parent.mkdir(exist_ok=True)
        (parent / f"{index:06d}.png").write_bytes(content)


def make_blobs(count: int, side: int) -> Pixels:
    """Return square images of random smooth colours, uint8 (count, side, side, 3)."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 4, 4, 3), np.uint8)
    size, bicubic = (side, side), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(each).resize(size, bicubic)) for each in coarse])


def read_training(array_file: Path) -> npt.NDArray[np.uint8]:
    """Return the training images in an .npz file that `split_images` wrote."""
    with np.load(array_file) as arrays:
        images: npt.NDArray[np.uint8] = arrays["images"]
    return images
