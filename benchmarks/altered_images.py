"""What a distance asks for: real digits or clothes, altered in one way at a time, by the figures of `ganport evaluate`.

    python -m benchmarks.altered_images fashion-mnist --data-dir DATA

10,000 images of the training split are altered and held against the test split. A generator as far away as a blur of half a
pixel has edges that are as soft as that, or lacks something that weighs as much. All but the last column are of these; the last
is how many of them are still found to be copies. Prints the table of docs/quality.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ganport.evaluation.features import FeatureNetwork, Pixels
from ganport.evaluation.measures import compare, nearest_share
from ganport.evaluation.references import load_reference
from ganport.trainer.datasets import load_dataset

COUNT = 10_000
BLURS = (0.2, 0.3, 0.4)  # standard deviation of a Gaussian, in pixels
NOISES = (4, 8)  # standard deviation, in grey levels of 255
COMPONENTS = (256, 128, 64)  # principal ones that are kept, of 784


def alterations(images: Pixels, labels: npt.NDArray[np.integer]) -> Iterator[tuple[str, Pixels]]:
    """Yield what is done, and `COUNT` images after it; images uint8 (n, 28, 28, 1) in a random order, labels (n,)."""
    yield "as they are", images[:COUNT]
    each = COUNT // (labels.max() + 1)
    yield (
        f"{each:,} of each class",
        np.concatenate([images[labels == label][:each] for label in range(labels.max() + 1)]),
    )
    some = images[:COUNT].astype(np.float64)
    yield "moved by one pixel to the right", np.roll(images[:COUNT], 1, axis=2)
    for sigma in BLURS:
        yield f"blurred by {sigma} pixels", _round(_blur(some, sigma))
    random = np.random.default_rng(0)
    for levels in NOISES:
        yield f"noise of {levels} grey levels", _round(some + random.normal(0, levels, some.shape))
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(flat, rowvar=False))  # by ascending variance
    for kept in COMPONENTS:
        basis = axes[:, -kept:]
        yield f"first {kept} principal components", _round((mean + (flat[:COUNT] - mean) @ basis @ basis.T).reshape(some.shape))


def _blur(images: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    # The mean over each pixel: samples at their centres alone would be much narrower than a Gaussian of less than a pixel is.
    edges = [math.erf(edge / (sigma * math.sqrt(2))) for edge in np.arange(-3.5, 4)]
    weights = np.diff(edges) / (edges[-1] - edges[0])
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    rows = sum(weight * padded[:, at : at + images.shape[1]] for at, weight in enumerate(weights))
    return sum(weight * rows[:, :, at : at + images.shape[2]] for at, weight in enumerate(weights))


def _round(images: npt.NDArray[np.float64]) -> Pixels:
    return np.rint(images).clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure real images that were altered.")
    parser.add_argument("data", choices=("mnist", "fashion-mnist"))
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    data = load_dataset(arguments.data, arguments.data_dir)
    order = np.random.default_rng(0).permutation(data.count)
    network, real = FeatureNetwork(arguments.data), load_reference(arguments.data).features
    images, labels = data.take(range(data.count))[order], data.labels[order]
    training = network.judge(images)[0]
    print("| real images | Fréchet | kernel | precision | recall | next to training |\n| --- | --- | --- | --- | --- | --- |")
    for name, altered in alterations(images, labels):
        features = network.judge(altered)[0]
        figures, nearest = compare(real, features), nearest_share(features, training, real)
        distances = f"{figures['frechet']:#.3g} | {figures['kernel']:.4f}"
        print(f"| {name} | {distances} | {figures['precision']:.3f} | {figures['recall']:.3f} | {nearest:.1%} |", flush=True)


if __name__ == "__main__":
    main()
