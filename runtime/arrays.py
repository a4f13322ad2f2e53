"""Array types that the modules share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # images, (n, height, width, channels)
Latents = npt.NDArray[np.float32]  # (n, dim)
Seeds = npt.NDArray[np.int64]  # (n,)
LabelIndices = npt.NDArray[np.int64]  # (n,), indices into the generator's labels
