"""ganport's runtime: generate images with onnxruntime, numpy and pillow, without TensorFlow.

The folder imports no other packages, and it imports its own modules by relative imports only. So the folder
can be copied into an app, under any name.
"""

from .contract import Contract, ImageSpec, InputSpec
from .errors import GanportError
from .golden import GoldenCheck, check_golden
from .images import make_grid, to_uint8
from .latents import sample_latents
from .png import encode_png, save_png
from .pretrained import PRETRAINED
from .providers import PROVIDERS
from .sampler import Sampler
from .seeds import check_seeds, parse_seeds

__version__ = "0.1.0"

__all__ = [
    "PRETRAINED",
    "PROVIDERS",
    "Contract",
    "GanportError",
    "GoldenCheck",
    "ImageSpec",
    "InputSpec",
    "Sampler",
    "__version__",
    "check_golden",
    "check_seeds",
    "encode_png",
    "make_grid",
    "parse_seeds",
    "sample_latents",
    "save_png",
    "to_uint8",
]
