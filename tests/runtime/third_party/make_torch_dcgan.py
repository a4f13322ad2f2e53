"""Write torch_dcgan.onnx and torch_dcgan.npz: a DCGAN that PyTorch exported, and its images in PyTorch.

    pip install torch onnx onnxscript; python tests/runtime/third_party/make_torch_dcgan.py

PyTorch is too large to be a dependency of the tests, so both files lie beside this one. They were made with
PyTorch 2.13.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


def build() -> nn.Module:
    """Return a DCGAN generator with latents (n, 16, 1, 1) and images (n, 3, 16, 16) in [-1, 1]."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.ConvTranspose2d(16, 12, 4, 1, 0, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(True),
        nn.ConvTranspose2d(12, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    ).eval()


def main() -> None:
    """Write both files."""
    generator = build()
    latents = torch.tensor(np.random.default_rng(0).standard_normal((3, 16, 1, 1)), dtype=torch.float32)
    with torch.no_grad():
        images = generator(latents).numpy()
    np.savez_compressed(HERE / "torch_dcgan.npz", latents=latents.numpy(), images=images)
    batch = {"noise": {0: "batch"}, "image": {0: "batch"}}
    torch.onnx.export(
        generator,
        (latents,),
        HERE / "torch_dcgan.onnx",
        input_names=["noise"],
        output_names=["image"],
        dynamic_axes=batch,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
