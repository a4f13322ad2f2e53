"""Target for texts: lists of seeds, and the values of options. An input's first line is the kind of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from ganport.datasets.preparation import parse_colour
from ganport.datasets.preparation import parse_image_size as parse_pixels
from ganport.runtime import parse_seeds
from ganport.runtime.description import parse_image_size, parse_input_values, parse_labels, parse_range
from ganport.trainer.recipes import load_recipe
from ganport.trainer.settings import change_recipe, parse_settings

from .mutations import mutate_bytes
from .target import Target

_RECIPE = load_recipe("digits")
_EXAMPLES: dict[str, tuple[Callable[[str], Any], tuple[str, ...]]] = {
    "seeds": (parse_seeds, ("0-63", "0,5,9-12", f"{2**63 - 2}-{2**63 - 1}", " 7 , 8")),
    "range": (parse_range, ("tanh", "sigmoid", "0..255", "-1e3..0.5")),
    "size": (parse_image_size, ("28x28x1", "64x48")),
    "labels": (parse_labels, ("10", "labels.txt")),
    "value": (lambda text: parse_input_values([text]), ("psi=0.7", "a=b=0")),
    "pixels": (parse_pixels, ("64", "64x48", "64 \N{MULTIPLICATION SIGN} 48")),
    "colour": (parse_colour, ("white", "#fffefd", "rgb(1,2,3)", "hsl(0,100%,50%)")),
    "setting": (
        lambda text: change_recipe(_RECIPE, parse_settings([text])),
        ("loss=hinge", "learning_rate=1e-4", "jit=off", "diff_augment=color,cutout", "title=My title"),
    ),
}


class TextTarget(Target):
    """A text that a user gives on the command line, or that a client of the service sends."""

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        kind, _, text = content.partition(b"\n")
        return kind + b"\n" + mutate_bytes(rng, text, rng.choice((b"-,0..9", other.partition(b"\n")[2])))

    def examples(self) -> Iterable[bytes]:
        for kind, (_, texts) in _EXAMPLES.items():
            for text in texts:
                yield f"{kind}\n{text}".encode()

    def run(self, content: bytes) -> None:
        kind, _, text = content.partition(b"\n")
        if b"/" in text:  # a file with names of labels lies in no other folder
            return
        _EXAMPLES[kind.decode()][0](text.decode("utf-8", "surrogateescape"))
