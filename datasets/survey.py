"""The survey of a data set: what its images are like, before a generator is trained on them."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ganport.runtime.arrays import Pixels
from ganport.runtime.cores import usable_cores
from ganport.runtime.display import printable

from .dataset import Dataset
from .decoding import UnreadableError, decoded, has_grey_levels, is_animated, quiet_pillow, turn_upright
from .duplicates import THUMBNAIL_SHAPE, find_duplicates, make_thumbnail
from .errors import BlankImagesError, DuplicateImagesError, SmallClassError, UnreadableImagesError
from .fitting import flatten, shrink_in_strips
from .folder import ImageFolder, Progress
from .listing import batched, class_of, list_images
from .loading import find_source, is_image_folder, load_prepared
from .preparation import Preparation

Size = tuple[int, int]  # width and height

# Larger images are looked at after they are averaged to at least this number of pixels per side.
_SIDE = 256
# Transparent pixels are shown on grey, so that white and black drawings can both be seen.
_GROUND = (128, 128, 128)
_EXTREME_RATIO = 3  # an image is called long if one side is more than this number of times the other
_GREY_LEVELS = 2  # largest difference between the channels of an image that counts as grey, of 255 levels
_FILES_PER_TASK = 32
_MOST_NAMED = 5
_MOST_PAIRS = 10

_Value = TypeVar("_Value", float, int, tuple[int, int, int])


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the images of a data set are like.

    Attributes:
        source: Path of the folder, or the name of the data set.
        count: Number of images that can be read.
        sizes: Number of images of each (width, height). Images are measured upright.
        grey: Number of images without colour.
        transparent: Number of images with transparent pixels.
        classes: Number of images in each class. The mapping is empty if there are no classes.
        unclassed: Number of images that belong to no class, although others do.
        unreadable: Mapping from the name of each image that can't be read to the reason.
        duplicates: Groups of equal images, by name. Images are equal if their sizes and pixels are; images
            of more than 512 pixels per side are compared after they are averaged.
        near_count: Number of images that are nearly equal to another one, beyond one of each group. Equal
            images are not counted. The search is approximate.
        near_pairs: A few pairs of nearly equal images, by name.
        animated: Number of animations. Their first image is used.
        rotated: Number of images that are stored on their side or mirrored, by their EXIF data.
        blank: Names of the images that have one single colour.
        long: Names of the images with one side more than three times the other.
    """

    source: str
    count: int
    sizes: Mapping[Size, int]
    grey: int
    transparent: int
    classes: Mapping[str, int]
    unclassed: int
    unreadable: Mapping[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    near_count: int
    near_pairs: tuple[tuple[str, str], ...]
    animated: int
    rotated: int
    blank: tuple[str, ...]
    long: tuple[str, ...]

    @property
    def colour(self) -> int:
        """Number of images with colour."""
        return self.count - self.grey

    @property
    def copies(self) -> int:
        """Number of images that are equal to another one, beyond one of each group."""
        return sum(len(group) - 1 for group in self.duplicates)

    @property
    def distinct(self) -> int:
        """Number of different images."""
        return self.count - self.copies

    @property
    def smallest(self) -> Size:
        """Width and height of the image with the fewest pixels."""
        return self.size_at(0.0)

    @property
    def median(self) -> Size:
        """Width and height of the image in the middle, in the order of the number of pixels."""
        return self.size_at(0.5)

    @property
    def largest(self) -> Size:
        """Width and height of the image with the most pixels."""
        return self.size_at(1.0)

    @property
    def aspect_ratio(self) -> float:
        """Median of width divided by height."""
        return _quantile({size: size[0] / size[1] for size in self.sizes}, self.sizes, 0.5)

    def size_at(self, share: float) -> Size:
        """Return the width and height below which a share of the images lies, by the number of pixels.

        Args:
            share: From 0 for the smallest image to 1 for the largest one.
        """
        ranked = {size: (size[0] * size[1], *size) for size in self.sizes}
        _, width, height = _quantile(ranked, self.sizes, share)
        return width, height

    def shorter_side_at(self, share: float) -> int:
        """Return the number of pixels below which the shorter side of a share of the images lies.

        Args:
            share: From 0 to 1. For 0.1, nine of ten images have at least as many pixels on this side.
        """
        return _quantile({size: min(size) for size in self.sizes}, self.sizes, share)

    def check(self, *, skip_bad: bool = False) -> None:
        """Raise an error if no generator can learn from the images.

        Args:
            skip_bad: Whether images that can't be read may be left out.

        Raises:
            UnreadableImagesError: Images can't be read.
            BlankImagesError: Every image has one single colour.
            DuplicateImagesError: All images are the same image.
        """
        if self.unreadable and not (skip_bad and self.count):
            total = self.count + len(self.unreadable)
            raise UnreadableImagesError(Path(self.source), self.unreadable, total)
        if len(self.blank) == self.count:
            raise BlankImagesError(self.source, self.count)
        if self.distinct == 1 < self.count:
            raise DuplicateImagesError(self.source, self.count)

    def check_classes(self) -> None:
        """Raise SmallClassError if a class has one image only."""
        names = [name for name, count in self.classes.items() if count == 1]
        if names:
            raise SmallClassError(self.source, names)

    def lines(self) -> list[str]:
        """Return a short report: one line about all images, and one for each thing worth knowing."""
        return [_headline(self), *_notes(self)]

    def to_dict(self) -> dict[str, Any]:
        """Return the survey as JSON types."""
        document = dataclasses.asdict(self)
        document["sizes"] = {f"{width}x{height}": count for (width, height), count in self.sizes.items()}
        return document


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What is known about one image.

    Attributes:
        name: Name of the image.
        size: Width and height, upright.
        content: Hash of the size and the pixels.
        thumbnail: Pixels of the thumbnail, uint8 (16, 18, 3), as bytes.
        has_colour_channels: Whether the image has a colour mode.
        is_blank: Whether all pixels have the same colour.
        is_transparent: Whether a pixel is transparent.
        is_animated: Whether the file is an animation.
        is_rotated: Whether the image is stored on its side or mirrored.
    """

    name: str
    size: Size
    content: bytes
    thumbnail: bytes
    has_colour_channels: bool
    is_blank: bool
    is_transparent: bool = False
    is_animated: bool = False
    is_rotated: bool = False


def survey_source(source: str, *, data_dir: Path | None = None, progress: Progress | None = None) -> Survey:
    """Return what the images of a data set are like, whatever their sizes are.

    Args:
        source: Named set, folder or file, as `load_images` takes it.
        data_dir: Folder to search first for a named set.
        progress: Function that is called with the number of images that are read, and of all images.

    Raises:
        DatasetNotFoundError: There is no such name, file or folder.
        DatasetContentError: There is no image, or a file does not hold images.
        MissingPackageError: The package that holds or downloads the named set is not installed.
    """
    path = find_source(source, data_dir)
    if is_image_folder(path):
        return survey_folder(path, progress=progress)
    return survey_images(load_prepared(source, Preparation(), data_dir), progress=progress)


def survey_folder(path: Path, *, progress: Progress | None = None) -> Survey:
    """Return what the images of a folder are like. Each image is read once, on all cores.

    Args:
        path: Path of the folder.
        progress: Function that is called with the number of images that are read, and of all images.

    Raises:
        NoImagesError: The folder holds no image.
    """
    listing = list_images(path)
    facts: list[_Facts] = []
    unreadable = dict(listing.unreadable)
    with quiet_pillow():
        for found, reasons in _in_threads(lambda names: _examine_files(path, names), listing.names, progress):
            facts += found
            unreadable |= reasons
    classes = collections.Counter(class_of(each.name) for each in facts)
    unclassed = classes.pop("", 0) if len(classes) > 1 else 0
    classes.pop("", None)
    return _summarise(
        str(path), facts, dict(sorted(unreadable.items())), dict(sorted(classes.items())), unclassed
    )


def survey_images(data: Dataset, *, progress: Progress | None = None) -> Survey:
    """Return what the images of a data set are like. The images of an array are named by their indices.

    For a data set whose images are files of a folder, this is `survey_folder`.

    Args:
        data: Data set.
        progress: Function that is called with the number of images that are read, and of all images.

    Raises:
        NoImagesError: The folder holds no image.
    """
    if isinstance(data.images, ImageFolder):
        return survey_folder(data.images.path, progress=progress)
    images = data.images
    indices = [str(index) for index in range(data.count)]

    def examine(names: _Names) -> list[_Facts]:
        return [_examine_pixels(images[int(name)], name) for name in names]

    facts: list[_Facts] = []
    for found in _in_threads(examine, indices, progress):
        facts += found
    return _summarise(data.source, facts, dict(data.skipped), dict(data.classes), 0)


_Names = Sequence[str]
_Result = TypeVar("_Result")


def _in_threads(
    examine: Callable[[_Names], _Result], names: _Names, progress: Progress | None
) -> Iterator[_Result]:
    """Yield the results of a function for batches of names, in order, computed on all cores."""
    done = 0
    with concurrent.futures.ThreadPoolExecutor(usable_cores()) as pool:
        batches = list(batched(names, _FILES_PER_TASK))
        for batch, result in zip(batches, pool.map(examine, batches), strict=True):
            yield result
            done += len(batch)
            if progress is not None:
                progress(done, len(names))


def _examine_files(folder: Path, names: _Names) -> tuple[list[_Facts], dict[str, str]]:
    """Return what some images are like, and the reason for each one that can't be read."""
    facts: list[_Facts] = []
    unreadable: dict[str, str] = {}
    for name in names:
        try:
            facts.append(_examine_file(folder / name, name))
        except UnreadableError as error:
            unreadable[name] = str(error)
    return facts, unreadable


def _examine_file(path: Path, name: str) -> _Facts:
    with decoded(path, lambda size: min(size) / _SIDE) as found:
        image = found.image
        channels = 4 if image.has_transparency_data else 1 if has_grey_levels(image) else 3
        facts = _examine(image, name, channels, found.orientation)
        return dataclasses.replace(
            facts,
            size=found.size,
            content=facts.content + repr(found.size).encode(),
            is_animated=is_animated(image),
            is_rotated=found.orientation != 1,
        )


def _examine_pixels(pixels: Pixels, name: str) -> _Facts:
    channels = pixels.shape[-1]
    return _examine(Image.fromarray(pixels[..., 0] if channels == 1 else pixels), name, channels, 1)


def _examine(image: Image.Image, name: str, channels: int, orientation: int) -> _Facts:
    """Return what a decoded image is like.

    Args:
        image: The image, as it is stored.
        name: Name of the image.
        channels: 1 for grey, 3 for colour, 4 for an image that may have transparent pixels.
        orientation: EXIF orientation, from 1 to 8.
    """
    blocks = max(1, image.width // _SIDE), max(1, image.height // _SIDE)
    small = shrink_in_strips(
        image, (0, 0, *image.size), blocks, lambda strip: flatten(image, strip, channels, _GROUND)
    )
    small = turn_upright(small, orientation)
    is_transparent = small.mode == "RGBA" and int(np.asarray(small)[..., 3].min()) < 255
    # An RGBA image without transparent pixels has the same hash as the same image in RGB.
    shown = flatten(small, small, 3, _GROUND) if small.mode == "RGBA" else small
    content = hashlib.blake2b((small if is_transparent else shown).tobytes(), digest_size=16)
    return _Facts(
        name,
        image.size,
        content.digest(),
        make_thumbnail(shown),
        has_colour_channels=shown.mode == "RGB",
        is_blank=shown.getcolors(1) is not None,
        is_transparent=is_transparent,
    )


def _summarise(
    source: str,
    facts: Sequence[_Facts],
    unreadable: Mapping[str, str],
    classes: Mapping[str, int],
    unclassed: int,
) -> Survey:
    """Return the survey of images that were all examined."""
    thumbnails = np.frombuffer(b"".join(each.thumbnail for each in facts), np.uint8)
    thumbnails = thumbnails.reshape(len(facts), *THUMBNAIL_SHAPE)
    found = find_duplicates([each.content for each in facts], thumbnails)
    names = [each.name for each in facts]
    sizes = collections.Counter(each.size for each in facts)
    return Survey(
        source=source,
        count=len(facts),
        sizes=dict(sorted(sizes.items())),
        grey=_count_grey(facts, thumbnails),
        transparent=sum(each.is_transparent for each in facts),
        classes=classes,
        unclassed=unclassed,
        unreadable=unreadable,
        duplicates=tuple(tuple(names[index] for index in group) for group in found.groups),
        near_count=found.near_count,
        near_pairs=tuple((names[one], names[other]) for one, other in found.near_pairs[:_MOST_PAIRS]),
        animated=sum(each.is_animated for each in facts),
        rotated=sum(each.is_rotated for each in facts),
        blank=tuple(each.name for each in facts if each.is_blank),
        long=tuple(each.name for each in facts if max(each.size) > _EXTREME_RATIO * min(each.size)),
    )


def _count_grey(facts: Sequence[_Facts], thumbnails: Pixels) -> int:
    """Return the number of images without colour. For images in a colour mode the thumbnails decide."""
    if not facts:
        return 0
    channels = thumbnails.reshape(len(facts), -1, 3)
    differences = np.ptp(channels, axis=2).max(axis=1)
    return sum(
        not each.has_colour_channels or bool(difference <= _GREY_LEVELS)
        for each, difference in zip(facts, differences, strict=True)
    )


def _quantile(values: Mapping[Size, _Value], counts: Mapping[Size, int], share: float) -> _Value:
    """Return the value below which a share of the images lies.

    Args:
        values: Value of each size.
        counts: Number of images of each size.
        share: From 0 to 1.
    """
    wanted = share * (sum(counts.values()) - 1)
    ranked = sorted((values[size], counts[size]) for size in counts)
    seen = 0
    for value, count in ranked:
        seen += count
        if seen > wanted:
            return value
    raise ValueError("there are no images")


def _headline(survey: Survey) -> str:
    """Return one line about all images."""
    parts = [f"{_images(survey.count)}{_sizes(survey)}{_colours(survey)}"]
    if survey.transparent:
        parts.append(f"{survey.transparent:,} with transparency")
    if survey.unreadable:
        parts.append(f"{len(survey.unreadable):,} unreadable")
    if survey.copies:
        parts.append(f"{survey.copies:,} exact {_plural(survey.copies, 'duplicate')}")
    if survey.near_count:
        parts.append(f"about {survey.near_count:,} near {_plural(survey.near_count, 'duplicate')}")
    if not survey.copies and not survey.near_count:
        parts.append("no duplicates")
    classes = len(survey.classes)
    parts.append(f"{classes:,} {'class' if classes == 1 else 'classes'}" if classes else "no classes")
    return ", ".join(parts)


def _sizes(survey: Survey) -> str:
    if len(survey.sizes) == 1:
        return f" of {_times(survey.largest)}"
    if not survey.sizes:
        return ""
    smallest, median, largest = map(_times, (survey.smallest, survey.median, survey.largest))
    return f" of {smallest} to {largest} (median {median})"


def _colours(survey: Survey) -> str:
    if not survey.count:
        return ""
    if survey.grey in (0, survey.count):
        return " in grey" if survey.grey else " in colour"
    return f", {survey.colour:,} in colour and {survey.grey:,} in grey"


def _notes(survey: Survey) -> list[str]:
    """Return a line for each thing worth knowing."""
    notes = []
    if survey.classes:
        listed = [f"{name} {count:,}" for name, count in survey.classes.items()]
        notes.append(f"classes: {_some(listed, 12)}")
    if survey.unclassed:
        notes.append(f"{_images(survey.unclassed)} outside of the sub-folders, so without a class")
    if survey.unreadable:
        listed = [f"{name} ({reason})" for name, reason in survey.unreadable.items()]
        notes.append(f"unreadable: {_some(listed)}")
    if survey.duplicates:
        notes.append(f"equal: {_some([' = '.join(group[:2]) for group in survey.duplicates])}")
    if survey.near_pairs:
        pairs = [" ~ ".join(pair) for pair in survey.near_pairs[:_MOST_NAMED]]
        notes.append(f"nearly equal, for example: {', '.join(pairs)}")
    if survey.blank:
        notes.append(f"of one single colour: {_some(survey.blank)}")
    if survey.long:
        notes.append(f"one side more than {_EXTREME_RATIO} times the other: {_some(survey.long)}")
    if survey.animated:
        notes.append(f"{survey.animated:,} {_plural(survey.animated, 'animation')}; the first image is used")
    if survey.rotated:
        notes.append(f"{_images(survey.rotated)} turned upright by the camera's orientation")
    return [printable(note) for note in notes]


def _images(count: int) -> str:
    return f"{count:,} {_plural(count, 'image')}"


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _times(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _some(texts: Sequence[str], at_most: int = _MOST_NAMED) -> str:
    """Return the first texts with commas between them, and the number of the others."""
    others = len(texts) - at_most
    return ", ".join(texts[:at_most]) + (f" and {others:,} more" if others > 0 else "")
