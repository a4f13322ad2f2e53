"""The root of ganport's errors, and the errors that the runtime raises.

Catch `GanportError` to catch them all. Each leaf is also the builtin that a Python programmer would expect.
The other packages define their own errors in their own `errors.py`; docs/errors.md shows the whole tree::

    GanportError
    ├── UsageError (ValueError)                     the request is malformed; the command line exits with 2
    │   ├── SeedError                               not a seed, or not a list of seeds
    │   ├── LabelError                              not a label of this generator
    │   └── UnknownProviderError                    not an execution provider
    ├── LatentShapeError (ValueError)               the latents do not have the shape of the generator's input
    ├── LatentValueError (ValueError)               the latents are not finite
    ├── InputKindError (ValueError)                 the generator does not take latents
    ├── FixedSeedError (LookupError)                the generator holds certain seeds only, and not this one
    ├── ClosedSamplerError (RuntimeError)           the sampler was closed
    ├── MissingPackageError (ImportError)           an optional package is not installed
    ├── ProviderError (RuntimeError)                the provider is not available on this machine
    ├── OutputError (OSError)                       a result can't be written
    └── ModelError                                  a model file can't be used
        ├── ModelNotFoundError (FileNotFoundError)  there is no model file, or it can't be read
        ├── ModelFormatError (ValueError)           the file is empty, damaged or harmful
        ├── ModelTooLargeError (ValueError)         the file needs more memory or work than its budget allows
        ├── UnsupportedModelError (ValueError)      the file is not ONNX, or has operations that do not run
        ├── NotAGeneratorError (ValueError)         an ONNX file is not a generator, or needs a description
        ├── InferenceError (RuntimeError)           the model was opened, and running it failed
        ├── IsolationError (RuntimeError)           an isolated model exceeded a limit, or it crashed
        ├── GoldenMismatchError (ArithmeticError)   the model generates other images than at its export
        ├── DescriptionMismatchError (ValueError)   the JSON file beside a model describes another file
        └── ContractError (ValueError)              the contract is malformed, or does not fit the graph
            └── ContractVersionError                the contract has a format that this runtime does not read

A message names an argument as Python does, in backticks: `opset`, `overwrite=True`. The command line shows
the option instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .display import format_seeds, model_name, printable, shortened


class GanportError(Exception):
    """The root of all errors that ganport raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, pickle rebuilds an error as type(self)(*self.args), and `args` holds the message only.
        # This fails for most classes below, because their constructors take other arguments. An error that
        # was raised in a worker process could then not be sent to the parent process.
        return rebuild_error, (type(self), self.args, self.__dict__)


def rebuild_error(kind: type[GanportError], args: tuple[Any, ...], facts: dict[str, Any]) -> GanportError:
    """Return an error of another process: its class, its arguments and its attributes."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


class UsageError(GanportError, ValueError):
    """The request is malformed, so it would fail on every machine."""


class SeedError(UsageError):
    """The value is not a seed, or not a list of seeds."""

    def __init__(self, got: object, problem: str) -> None:
        self.got, self.problem = got, problem
        super().__init__(
            f"Seed {got!r} {problem}; seeds are whole numbers from 0 to 2**63 - 1, as in 0-63 or 0,5,9-12."
        )


class LabelError(UsageError):
    """Not a label of this generator."""

    def __init__(self, got: object, known: Sequence[str]) -> None:
        self.got, self.known = got, tuple(known)
        if known:
            expected = f"the generator's labels are {_first_names(known)}"
        else:
            expected = "the generator has no labels; leave the label out"
        super().__init__(f"Label {shortened(got)} is not available: {expected}.")


def _first_names(names: Sequence[str], at_most: int = 20) -> str:
    rest = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + rest


class UnknownProviderError(UsageError):
    """The name is not the name of an execution provider."""

    def __init__(self, got: str, known: Sequence[str]) -> None:
        self.got, self.known = got, tuple(known)
        super().__init__(f"Provider {got!r} is unknown; choose one of {', '.join(known)}.")


class LatentShapeError(GanportError, ValueError):
    """The latents do not have the shape of the generator's input."""

    def __init__(self, got: tuple[int, ...], latent_dim: int) -> None:
        self.got, self.latent_dim = got, latent_dim
        super().__init__(
            f"Latents have shape {got}; this generator takes (batch, {latent_dim}) with batch >= 1."
        )


class LatentValueError(GanportError, ValueError):
    """The latents are not finite."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(
            f"{count} of the latents are not finite; sample them from the distribution that the "
            "contract states."
        )


class InputKindError(GanportError, ValueError):
    """The generator does not take latents."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        if kind == "seed":
            problem = "takes seeds, and neither latents nor a truncation"
        else:
            problem = "takes no input: its seeds and their labels are fixed"
        super().__init__(
            f"This generator {problem}; for one that takes latents, run: ganport export --input latent"
        )


class FixedSeedError(GanportError, LookupError):
    """The generator has fixed seeds, and the requested seed is not one of them."""

    def __init__(self, seed: int, known: Sequence[int]) -> None:
        self.seed, self.known = seed, tuple(known)
        super().__init__(
            f"Seed {seed} is not available: the file has only the fixed seeds {format_seeds(known)}. For any "
            "seed, export the generator again with: ganport export --input latent"
        )


class ClosedSamplerError(GanportError, RuntimeError):
    """The sampler was closed."""

    def __init__(self) -> None:
        super().__init__("The sampler is closed; create another one to generate images.")


class MissingPackageError(GanportError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        self.package, self.purpose, self.extra = package, purpose, extra
        super().__init__(
            f"{purpose} needs {package}, which is not installed; run: pip install 'ganport[{extra}]'"
        )


class ProviderError(GanportError, RuntimeError):
    """The requested provider is not available on this machine."""

    def __init__(self, provider: str, problem: str, remedy: str) -> None:
        self.provider, self.problem, self.remedy = provider, problem, remedy
        super().__init__(f"Provider {provider!r} is not available: {problem}; {remedy}")


class OutputError(GanportError, OSError):
    """A result can't be written to the requested path."""

    def __init__(self, path: Path, problem: str, remedy: str = "choose another `out`.") -> None:
        self.path, self.problem, self.remedy = path, problem, remedy
        super().__init__(f"Can't write {path}: {problem}; {remedy}")


class ModelError(GanportError):
    """A model file can't be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model file at this path, or it can't be read."""

    def __init__(
        self, path: Path, problem: str = "no such file", remedy: str = "create one with: ganport export"
    ) -> None:
        self.path, self.problem, self.remedy = path, problem, remedy
        super().__init__(f"No model file at {path} ({problem}); {remedy}")


class ModelFormatError(ModelError, ValueError):
    """The file is empty, damaged or harmful, and it is not known to be of another kind than ONNX."""

    def __init__(self, model: Path | bytes, problem: str) -> None:
        self.model, self.problem = model_name(model), problem
        super().__init__(f"{self.model} is not a readable ONNX file: {problem}; export or copy it again.")


class ModelTooLargeError(ModelError, ValueError):
    """The file needs more memory or work than its budget allows.

    Attributes:
        model: Path of the model, or its size if it was given as bytes.
        what: What exceeds its limit, such as "operations in the file".
        needed: Number that the file needs, as far as it was counted.
        limit: Largest number that the budget allows.
    """

    def __init__(self, model: Path | bytes, what: str, needed: int, limit: int) -> None:
        self.model, self.what, self.needed, self.limit = model_name(model), what, needed, limit
        super().__init__(
            f"{self.model} is too large: {needed:,} {what}, and the limit is {limit:,}; if you trust the "
            "file, raise the limits with `budget`, such as `budget=4`."
        )


class UnsupportedModelError(ModelError, ValueError):
    """The file is of another kind than ONNX, or it needs something that is not supported."""

    def __init__(self, model: Path | bytes, problem: str, remedy: str) -> None:
        self.model, self.problem, self.remedy = model_name(model), problem, remedy
        super().__init__(f"Can't use {self.model}: {problem}; {remedy}")


class NotAGeneratorError(ModelError, ValueError):
    """The ONNX file has no contract, and its graph can't be used without one.

    The graph is not a generator, or it does not show the layout or the range of the images.
    """

    def __init__(self, model: Path | bytes, problem: str) -> None:
        self.model, self.problem = model_name(model), problem
        super().__init__(
            f"{self.model} has no ganport contract, and its graph is not usable without one: {problem}."
        )


class InferenceError(ModelError, RuntimeError):
    """The model was opened, and running it failed."""

    def __init__(self, model: Path | bytes, problem: str) -> None:
        self.model, self.problem = model_name(model), problem
        super().__init__(f"Can't generate images with {self.model}: {problem}.")


class IsolationError(ModelError, RuntimeError):
    """The process of an isolated model has ended: it crashed, or it exceeded a limit.

    Attributes:
        model: Path of the model, or its size if it was given as bytes.
        reason: "crash", "memory" or "time".
        problem: Clause that says what has happened.
    """

    def __init__(self, model: Path | bytes, reason: str, problem: str) -> None:
        self.model, self.reason, self.problem = model_name(model), reason, problem
        if reason == "crash":
            remedy = "do not open this file without `isolated`"
        else:
            remedy = "generate smaller batches, or raise the limits of `isolated` if you trust the file"
        super().__init__(f"{self.model} was stopped in its own process: {problem}; {remedy}.")


class GoldenMismatchError(ModelError, ArithmeticError):
    """The model generates other images here than when it was exported."""

    def __init__(self, model: Path | bytes, provider: str, seeds: Sequence[int]) -> None:
        self.model, self.provider, self.seeds = model_name(model), provider, tuple(seeds)
        listed = ", ".join(map(str, seeds))
        super().__init__(
            f"{self.model} generates other images on {provider} than when it was exported (seeds {listed}): "
            "copy or export it again, or choose another `provider`."
        )


class DescriptionMismatchError(ModelError, ValueError):
    """The description beside a model file, NAME.json, is that of another file."""

    def __init__(self, path: Path, field: str) -> None:
        self.path, self.field = path, field
        super().__init__(
            f"{printable(str(path))} does not describe the model beside it: {field} differs; copy both files "
            "again, or export them again."
        )


class ContractError(ModelError, ValueError):
    """The contract in the file is malformed, or does not fit the file's graph."""

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"The model's contract is invalid at {field!r}: {problem}; export the model again.")


class ContractVersionError(ContractError):
    """The contract has a format that this runtime does not read."""

    def __init__(self, got: object, known: int) -> None:
        super().__init__("format", f"it is {got!r}, and this runtime reads up to {known}")
        self.got, self.known = got, known
        self.args = (
            f"The model's contract has format {got!r}; this runtime reads up to format {known}: upgrade "
            "ganport, or export the model with this version.",
        )
