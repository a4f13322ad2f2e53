"""The figures of altered real images, as a scale for the figures of generators.

    python -m benchmarks.altered_images fashion-mnist --data-dir DATA
    python -m benchmarks.altered_images rock-paper-scissors/train --data-dir DATA --image-size 64
    python -m benchmarks.altered_images faces --data-dir DATA --image-size 64

10,000 images of the training split of MNIST or Fashion-MNIST are altered in one way at a time, and compared
with the test split. Suppose a generator has the same distance as images that are blurred by half a pixel. Its
edges are then as soft, or it has a different error of the same weight. The last column is the share of
altered images that are still recognised as copies of training images.

Of any other folder of images in DATA, 1,000 altered images are compared with 1,000 other ones. The Fréchet
distance is given as a multiple of that of unaltered images, by the features of the general-purpose network
and by those of the classifier of Rock-Paper-Scissors, which measured such images before. The faces also have
rows for images without some of their attributes. An exclamation mark shows a distance that is smaller than
that of a weaker alteration of the same kind. The script prints the tables of docs/quality.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import alterations as colour_alterations
from ganport.datasets.loading import load_images
from ganport.evaluation.comparison import METRICS, compare_features
from ganport.evaluation.features import GENERAL_NETWORK, SET_NETWORKS, FeatureNetwork
from ganport.evaluation.measures import frechet_distance
from ganport.evaluation.neighbours import nearest_in_training
from ganport.evaluation.references import load_reference
from ganport.runtime.arrays import Pixels

COUNT = 10_000
BY_ATTRIBUTES = "only some attributes"
COLOUR_COUNT = 1_000  # number of altered images of a folder, and of images that they are compared with
BLURS = (0.2, 0.3, 0.4)  # standard deviations of a Gaussian filter, in pixels
NOISES = (4, 8)  # standard deviations of Gaussian noise, in grey levels of 255
COMPONENTS = (256, 128, 64)  # numbers of principal components that are kept, out of 784


def alterations(images: Pixels, labels: npt.NDArray[np.integer]) -> Iterator[tuple[str, Pixels]]:
    """Yield the name of each alteration, and `COUNT` altered images.

    Args:
        images: Real images, uint8 (n, 28, 28, 1), in a random order.
        labels: Labels of the images, (n,).
    """
    yield "unaltered", images[:COUNT]
    label_count = int(labels.max()) + 1
    each = COUNT // label_count
    balanced = [images[labels == label][:each] for label in range(label_count)]
    yield f"{each:,} of each label", np.concatenate(balanced)
    unaltered = images[:COUNT].astype(np.float64)
    yield "moved by one pixel to the right", np.roll(images[:COUNT], 1, axis=2)
    for sigma in BLURS:
        yield f"blurred by {sigma} pixels", _round(_blur(unaltered, sigma))
    random = np.random.default_rng(0)
    for levels in NOISES:
        yield f"noise of {levels} grey levels", _round(unaltered + random.normal(0, levels, unaltered.shape))
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(flat, rowvar=False))  # principal axes, sorted by ascending variance
    for kept in COMPONENTS:
        basis = axes[:, -kept:]
        projected = mean + (flat[:COUNT] - mean) @ basis @ basis.T
        yield f"first {kept} principal components", _round(projected.reshape(unaltered.shape))


def _blur(images: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    # Each weight is the mean of the Gaussian over one pixel. These Gaussians are narrower than a pixel, so
    # their values at the centres of the pixels would give a much narrower filter.
    edges = [math.erf(edge / (sigma * math.sqrt(2))) for edge in np.arange(-3.5, 4)]
    weights = np.diff(edges) / (edges[-1] - edges[0])
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    rows = sum(weight * padded[:, start : start + images.shape[1]] for start, weight in enumerate(weights))
    return sum(weight * rows[:, :, start : start + images.shape[2]] for start, weight in enumerate(weights))


def _round(images: npt.NDArray[np.float64]) -> Pixels:
    return np.rint(images).clip(0, 255).astype(np.uint8)


def compare_set(name: str, data_dir: Path) -> None:
    """Print the table of MNIST or Fashion-MNIST."""
    data = load_images(name, data_dir=data_dir)
    order = np.random.default_rng(0).permutation(data.count)
    network, real = FeatureNetwork(name), load_reference(name).features
    images, labels = data.take(range(data.count))[order], data.labels[order]
    training = network.extract(images)[0]
    print("| real images | Fréchet | kernel | precision | recall | nearest in training |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, altered in alterations(images, labels):
        features = network.extract(altered)[0]
        figures, nearest = compare_features(real, features), nearest_in_training(features, training, real)
        cells = [
            name,
            f"{figures['frechet']:#.3g}",
            f"{figures['kernel']:.4f}",
            f"{figures['precision']:.3f}",
            f"{figures['recall']:.3f}",
            f"{nearest:.1%}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def compare_folder(folder: Path, image_size: int) -> None:
    """Print the table of a folder of images in colour."""
    data = load_images(folder, image_size=image_size, channels=3)
    order = np.random.default_rng(0).permutation(data.count).astype(np.int32)
    images, count = data.take(order), min(COLOUR_COUNT, data.count // 2)
    real, base = images[:count], images[count : 2 * count]
    networks = [FeatureNetwork(GENERAL_NETWORK), FeatureNetwork("rock-paper-scissors")]
    references = [network.extract(real)[0] for network in networks]
    headings = ["real images", "", "Fréchet", *METRICS[1:], "multiple", "multiple, classifier of hands"]
    print(f"| {' | '.join(headings)} |\n{'| --- ' * len(headings)}|")
    unaltered = last = [0.0, 0.0]
    last_kind = ""
    rows = chain(
        [("unaltered", "", base)],
        colour_alterations.alterations(base),
        faces_by_attributes(folder / "attributes.csv", images[count:], order[count:], count),
    )
    for kind, strength, altered in rows:
        features = [network.extract(altered)[0] for network in networks]
        figures = compare_features(references[0], features[0])
        distances = [figures["frechet"], frechet_distance(references[1], features[1])]
        if kind == "unaltered":
            unaltered = distances
        if kind != last_kind or kind == BY_ATTRIBUTES:
            last = [0.0, 0.0]
        cells = [kind, strength, f"{figures['frechet']:#.3g}", f"{figures['kernel']:.3f}"]
        cells += [f"{figures[name]:.2f}" for name in METRICS[2:]]
        for new, old, weaker in zip(distances, unaltered, last, strict=True):
            cells.append(f"{new / old:.1f}{'!' if new < weaker else ''}")
        print(f"| {' | '.join(cells)} |", flush=True)
        last_kind, last = kind, distances


def faces_by_attributes(
    path: Path, images: Pixels, indices: npt.NDArray[np.integer], count: int
) -> Iterator[tuple[str, str, Pixels]]:
    """Yield faces without some of their attributes, `count` faces for each choice of attributes.

    Args:
        path: Path of attributes.csv. If it does not exist, nothing is yielded.
        images: Faces to choose from, in a random order.
        indices: Indices of these faces in attributes.csv.
        count: Number of faces. If fewer belong to the choice, they are repeated.
    """
    if not path.exists():
        return
    columns = {name: column[indices] for name, column in colour_alterations.read_attributes(path).items()}
    for name, is_chosen in colour_alterations.dropped_attributes(columns):
        yield BY_ATTRIBUTES, name, images[np.resize(np.flatnonzero(is_chosen), count)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure real images that were altered.")
    parser.add_argument("data", help="mnist, fashion-mnist, or the name of a folder of images in DATA")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument(
        "--image-size", type=int, default=64, help="pixels per side of the images of a folder"
    )
    arguments = parser.parse_args()
    if arguments.data in SET_NETWORKS:
        compare_set(arguments.data, arguments.data_dir)
    else:
        compare_folder(arguments.data_dir / arguments.data, arguments.image_size)


if __name__ == "__main__":
    main()
