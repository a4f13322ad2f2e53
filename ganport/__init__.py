"""Train a GAN in Keras, export its generator to one verified ONNX file, generate images from it anywhere.

    import ganport

    run = ganport.train("digits")                        # needs ganport[train]
    ganport.export(run, "digits.onnx")                   # needs ganport[export]
    sampler = ganport.Sampler("digits.onnx")             # needs ganport[cpu] or ganport[cuda]
    images = sampler.sample(range(64), labels=7)         # uint8 (64, 28, 28, 1)
    ganport.save_png(ganport.make_grid(images), "sevens.png")
    ganport.evaluate("digits.onnx")                      # Fréchet distance, precision, recall, ...

Each name above is imported when it is first used. So `import ganport` loads no heavy package.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

# Type checkers treat a variable with the name TYPE_CHECKING as true. It is not imported from typing,
# because importing typing would take longer than the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ganport.datasets import Dataset, load_images
    from ganport.evaluation.evaluating import evaluate
    from ganport.evaluation.report import Report
    from ganport.export.exporting import export
    from ganport.runtime import (
        PRETRAINED,
        Contract,
        GanportError,
        Isolation,
        Sampler,
        __version__,
        encode_png,
        make_grid,
        parse_seeds,
        sample_latents,
        save_png,
        seed_of,
    )
    from ganport.trainer.callbacks import Callback
    from ganport.trainer.comparison import Comparison, compare
    from ganport.trainer.recipe import Optimizer, Recipe
    from ganport.trainer.run import Run
    from ganport.trainer.training import train

__all__ = [
    "PRETRAINED",
    "Callback",
    "Comparison",
    "Contract",
    "Dataset",
    "GanportError",
    "Isolation",
    "Optimizer",
    "Recipe",
    "Report",
    "Run",
    "Sampler",
    "__version__",
    "compare",
    "encode_png",
    "evaluate",
    "export",
    "load_images",
    "make_grid",
    "parse_seeds",
    "sample_latents",
    "save_png",
    "seed_of",
    "train",
]

# If ganport is installed, its packages, such as runtime, are in this folder. In a clone of the repository
# they are beside this folder, so Python must also search the parent folder for them.
_HERE = os.path.dirname(__file__)
if not os.path.isdir(os.path.join(_HERE, "runtime")):
    __path__.append(os.path.dirname(_HERE))

# Modules that define public names. `ganport.runtime` defines all public names that are not listed here.
_MODULE_OF = {
    "Callback": "ganport.trainer.callbacks",
    "Comparison": "ganport.trainer.comparison",
    "Dataset": "ganport.datasets",
    "Optimizer": "ganport.trainer.recipe",
    "Recipe": "ganport.trainer.recipe",
    "Report": "ganport.evaluation.report",
    "Run": "ganport.trainer.run",
    "compare": "ganport.trainer.comparison",
    "evaluate": "ganport.evaluation.evaluating",
    "export": "ganport.export.exporting",
    "load_images": "ganport.datasets",
    "train": "ganport.trainer.training",
}


class _FrontDoor(ModuleType):
    """Type of the module `ganport`, which imports each public name when it is first used."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        import importlib

        module = importlib.import_module(_MODULE_OF.get(name, "ganport.runtime"))
        value = getattr(module, name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # An import of the package `ganport.export` would replace the function `ganport.export` by that
        # package. So an assignment of a module to a public name is ignored.
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _FrontDoor
