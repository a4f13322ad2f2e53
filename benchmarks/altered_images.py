"""The figures of altered real images, as a scale for the figures of generators.

    python -m benchmarks.altered_images fashion-mnist --data-dir DATA

10,000 images of the training split are altered in one way at a time, and compared with the test split.
Suppose a generator has the same distance as images that are blurred by half a pixel. Its edges are then as
soft, or it has a different error of the same weight. The last column is the share of altered images that are
still recognised as copies of training images. The script prints the table of docs/quality.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ganport.datasets.loading import load_images
from ganport.evaluation.features import FeatureNetwork
from ganport.evaluation.measures import compare_features, nearest_in_training
from ganport.evaluation.references import load_reference
from ganport.runtime.arrays import Pixels

COUNT = 10_000
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure real images that were altered.")
    parser.add_argument("data", choices=("mnist", "fashion-mnist"))
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    data = load_images(arguments.data, data_dir=arguments.data_dir)
    order = np.random.default_rng(0).permutation(data.count)
    network, real = FeatureNetwork(arguments.data), load_reference(arguments.data).features
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


if __name__ == "__main__":
    main()
