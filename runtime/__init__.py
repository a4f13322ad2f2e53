"""ganport's runtime: draw images from an exported generator with onnxruntime, numpy and pillow; no TensorFlow.

The folder imports nothing outside itself but these three packages, and itself by relative imports only: copy it into an
app, under any name, and it works.
"""

from .bundled import BUNDLED
from .contract import Contract, ImageSpec, InputSpec
from .errors import GanportError
from .golden import GoldenCheck, check_golden
from .images import encode_png, make_grid, save_png, to_uint8
from .latents import latents_of
from .providers import PROVIDERS
from .sampler import Sampler
from .seeds import check_seeds, parse_seeds

__version__ = "0.1.0"

__all__ = [
    "BUNDLED",
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
    "latents_of",
    "make_grid",
    "parse_seeds",
    "save_png",
    "to_uint8",
]
