"""Images for the tests of data sets."""

import numpy as np
from PIL import Image


def smooth(width=12, height=8, seed=0):
    """Return a smooth image, which lossy formats change little, uint8 (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    values = np.stack([rows * 8 + seed, columns * 8, rows * 0 + 100], axis=-1)
    return np.clip(values, 0, 255).astype(np.uint8)


def noise(width=16, height=16, channels=3, seed=0):
    """Return an image of blocks with random colours, uint8 (height, width, channels)."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, channels)).astype(np.uint8)
    image = Image.fromarray(small[..., 0] if channels == 1 else small)
    pixels = np.array(image.resize((width, height), Image.Resampling.NEAREST))
    return pixels.reshape(height, width, channels)


def save(path, pixels, **options):
    """Save an image, uint8 (height, width, 1, 3 or 4), in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path, **options)
    return path
