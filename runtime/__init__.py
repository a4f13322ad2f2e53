"""ganport's runtime: generate images with onnxruntime, numpy and pillow, without TensorFlow.

The folder imports no other packages, and it imports its own modules by relative imports only. So the folder
can be copied into an app, under any name. Each name of the package is imported when it is first used.
"""

from __future__ import annotations

# Type checkers treat a variable with the name TYPE_CHECKING as true. It is not imported from typing, which
# takes longer to import than this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .contract import Contract, ImageSpec, InputSpec
    from .errors import GanportError
    from .golden import GoldenCheck, check_golden
    from .images import make_grid, to_uint8
    from .isolation import Isolation
    from .latents import sample_latents
    from .png import encode_png, save_png
    from .pretrained import PRETRAINED
    from .providers import PROVIDERS
    from .sampler import Sampler
    from .seeds import check_seeds, parse_seeds, seed_of

__version__ = "0.1.0"

__all__ = [
    "PRETRAINED",
    "PROVIDERS",
    "Contract",
    "GanportError",
    "GoldenCheck",
    "ImageSpec",
    "InputSpec",
    "Isolation",
    "Sampler",
    "__version__",
    "check_golden",
    "check_seeds",
    "encode_png",
    "make_grid",
    "parse_seeds",
    "sample_latents",
    "save_png",
    "seed_of",
    "to_uint8",
]

_MODULE_OF = {
    "PRETRAINED": "pretrained",
    "PROVIDERS": "providers",
    "Contract": "contract",
    "GanportError": "errors",
    "GoldenCheck": "golden",
    "ImageSpec": "contract",
    "InputSpec": "contract",
    "Isolation": "isolation",
    "Sampler": "sampler",
    "check_golden": "golden",
    "check_seeds": "seeds",
    "encode_png": "png",
    "make_grid": "images",
    "parse_seeds": "seeds",
    "sample_latents": "latents",
    "save_png": "png",
    "seed_of": "seeds",
    "to_uint8": "images",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
