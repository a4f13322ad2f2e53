"""Train a GAN in Keras, export its generator to one verified ONNX file, generate images from it anywhere.

    import ganport

    images = ganport.Sampler("mnist").sample(range(64))  # uint8 (64, 28, 28, 1)

Every name is imported when it is first used, so that `import ganport` loads neither NumPy nor onnxruntime nor TensorFlow.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganport.runtime import Contract, GanportError, Sampler, __version__, make_grid, parse_seeds, save_png

__all__ = ["Contract", "GanportError", "Sampler", "__version__", "make_grid", "parse_seeds", "save_png"]

# An installed ganport holds its packages. In a clone they lie beside this folder, at the top of the repository.
_HERE = Path(__file__).parent
if not (_HERE / "runtime").is_dir():
    __path__.append(str(_HERE.parent))

# Public names, by the module that defines them.
_MODULES = {
    "ganport.runtime": ("Contract", "GanportError", "Sampler", "__version__", "make_grid", "parse_seeds", "save_png"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


class _FrontDoor(ModuleType):
    """Type of this module: its attributes are imported on first use."""

    def __getattr__(self, name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the package ganport.export would put it where the function ganport.export belongs.
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _FrontDoor
