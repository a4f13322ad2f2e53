"""Every error that ganport raises on purpose.

Catch the root to catch them all; each leaf is also the builtin that a Python programmer would expect::

    GanportError
    ├── UsageError (ValueError)                  the request itself is malformed; the command line exits with 2
    │   ├── SeedError                            not a seed, or not a list of seeds
    │   ├── LabelError                           no class of this generator
    │   ├── UnknownProviderError                 no such execution provider
    │   └── UnknownRecipeError (LookupError)     no such recipe
    ├── LatentShapeError (ValueError)            latents do not fit the generator
    ├── LatentValueError (ValueError)            latents that are not finite
    ├── InputKindError (ValueError)              the generator takes no latents
    ├── ClosedSamplerError (RuntimeError)        the sampler was closed
    ├── FixedSeedError (LookupError)             the generator draws certain seeds only, and this is none of them
    ├── MissingPackageError (ImportError)        an optional package is not installed
    ├── ProviderError (RuntimeError)             the provider exists, but can't be used here
    ├── DeviceError (RuntimeError)               the training device, or the cluster, can't be used here
    ├── ClusterError (RuntimeError)              the cluster can't do what it is to do
    ├── OutputError (OSError)                    a result can't be written
    ├── ListenError (OSError)                    the service can't be heard there
    ├── EvaluationError (ValueError)             images that can't be measured as asked
    ├── WebError (RuntimeError)                  the browser page can't be put together
    ├── ModelError
    │   ├── ModelNotFoundError (FileNotFoundError)  there is none, or it can't be read
    │   ├── ModelFormatError (ValueError)        empty, truncated, or not ONNX
    │   ├── NotAGeneratorError (ValueError)      ONNX, but no generator, or one that says too little of itself
    │   ├── InferenceError (RuntimeError)        it was loaded, and can't be drawn from: memory, or what it works out
    │   ├── DrawingError (ArithmeticError)       this device draws other images than the file did when it was made
    │   └── ContractError (ValueError)           the contract is malformed, or does not fit the graph
    │       └── ContractVersionError             the contract was written by a newer ganport
    ├── RecipeError (ValueError)                 a recipe's numbers do not fit together
    ├── DatasetError
    │   ├── DatasetNotFoundError (FileNotFoundError)
    │   └── DatasetContentError (ValueError)     nothing there, unreadable, mixed sizes, too few
    ├── RunError
    │   ├── RunNotFoundError (FileNotFoundError)
    │   ├── RunExistsError (FileExistsError)
    │   ├── RunInUseError (RuntimeError)         another process trains it
    │   ├── CheckpointError (ValueError)         none there, damaged, or of another recipe
    │   └── DivergedError (ArithmeticError)      a loss is no longer finite
    └── ExportError
        ├── GeneratorError (ValueError)          the Keras model can't be exported
        ├── PrecisionError (ValueError)          its numbers do not fit into the precision
        └── VerificationError (ArithmeticError)  the exported file does not draw what Keras draws
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class GanportError(Exception):
    """The root of all errors that ganport raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls type(self)(*self.args), which fails for every class below whose constructor takes facts:
        # an error raised in a worker process could then not travel back to its parent.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[GanportError], args: tuple[Any, ...], facts: dict[str, Any]) -> GanportError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


class UsageError(GanportError, ValueError):
    """The request itself is malformed, whatever the state of the machine."""


class SeedError(UsageError):
    """Not a seed, or not a list of seeds."""

    def __init__(self, got: object, problem: str) -> None:
        self.got, self.problem = got, problem
        super().__init__(f"Seed {got!r} {problem}; seeds are whole numbers from 0 to 2**63 - 1, as in 0-63 or 0,5,9-12.")


class UnknownProviderError(UsageError):
    """No such execution provider."""

    def __init__(self, got: str, known: Sequence[str]) -> None:
        self.got, self.known = got, tuple(known)
        super().__init__(f"Provider {got!r} is unknown; choose one of {', '.join(known)}.")


class UnknownRecipeError(UsageError, LookupError):
    """No such recipe."""

    def __init__(self, got: str, known: Sequence[str]) -> None:
        self.got, self.known = got, tuple(known)
        problem = f"There is no recipe file {got!r}" if got.endswith(".py") else f"Recipe {got!r} is unknown"
        super().__init__(f"{problem}; choose one of {', '.join(known)}, or name a file of yours, NAME.py.")


class LatentShapeError(GanportError, ValueError):
    """Latents do not fit the generator's input."""

    def __init__(self, got: tuple[int, ...], latent_dim: int) -> None:
        self.got, self.latent_dim = got, latent_dim
        super().__init__(f"Latents have shape {got}; this generator takes (batch, {latent_dim}) with batch >= 1.")


class LatentValueError(GanportError, ValueError):
    """Latents that are no numbers to draw from."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"{count} of the latents are not finite; draw them from a standard normal distribution.")


class LabelError(UsageError):
    """No class of this generator."""

    def __init__(self, got: object, known: Sequence[str]) -> None:
        self.got, self.known = got, tuple(known)
        due = f"its classes are {_few_of(known)}" if known else "it draws no classes on demand; leave the label out"
        shown = repr(got)
        super().__init__(f"Label {shown if len(shown) <= 60 else shown[:57] + '...'} does not fit the generator: {due}.")


def _few_of(names: Sequence[str], at_most: int = 20) -> str:
    rest = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + rest


class ClosedSamplerError(GanportError, RuntimeError):
    """The sampler was closed."""

    def __init__(self) -> None:
        super().__init__("The sampler is closed; make another one to draw.")


class InputKindError(GanportError, ValueError):
    """The generator takes no latents."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        takes = "seeds" if kind == "seed" else "nothing: its seeds, and their classes, are baked in"
        super().__init__(f"This generator takes {takes}; for all else, export it with --input latent.")


class FixedSeedError(GanportError, LookupError):
    """The generator draws certain seeds only, and this is none of them."""

    def __init__(self, seed: int, known: Sequence[int]) -> None:
        self.seed, self.known = seed, tuple(known)
        shown = ranges_of(known)
        super().__init__(f"Seed {seed} is not baked into this file, which draws {shown}; export it with --input seed for any.")


def ranges_of(seeds: Sequence[int], at_most: int = 8) -> str:
    """Return seeds as `--seeds` takes them, of many the first few ranges.

    >>> ranges_of([0, 1, 2, 7, 9, 10])
    '0-2,7,9-10'
    """
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in spans[:at_most]]
    return ",".join(shown) + (",..." if len(spans) > at_most else "")


class MissingPackageError(GanportError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        self.package, self.purpose, self.extra = package, purpose, extra
        super().__init__(f"{purpose} needs {package}, which is not installed; run: pip install 'ganport[{extra}]'")


class ProviderError(GanportError, RuntimeError):
    """The provider that was asked for can't be used on this machine."""

    def __init__(self, provider: str, problem: str, remedy: str) -> None:
        self.provider, self.problem, self.remedy = provider, problem, remedy
        super().__init__(f"Provider {provider!r} can't be used: {problem}; {remedy}")


class DeviceError(GanportError, RuntimeError):
    """The device that was asked for can't be trained on."""

    def __init__(self, device: str, problem: str, remedy: str) -> None:
        self.device, self.problem, self.remedy = device, problem, remedy
        super().__init__(f"Can't train on {device}: {problem}; {remedy}.")


class ClusterError(GanportError, RuntimeError):
    """The cluster can't be reached, or can't do what it is to do."""

    def __init__(self, address: str | None, problem: str, remedy: str = "`ray status` says more") -> None:
        self.address, self.problem, self.remedy = address, problem, remedy
        which = f"The Ray cluster at {address}" if address else "The Ray cluster"
        super().__init__(f"{which} can't be used: {problem}; {remedy}.")


class OutputError(GanportError, OSError):
    """A result can't be written where it was asked for."""

    def __init__(self, path: Path, problem: str, remedy: str = "name another place with --out.") -> None:
        self.path, self.problem, self.remedy = path, problem, remedy
        super().__init__(f"Can't write {path}: {problem}; {remedy}")


class ModelError(GanportError):
    """A model file can't be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model file, or none that may be read."""

    def __init__(self, path: Path, problem: str = "there is none", remedy: str = "make one with: ganport export") -> None:
        self.path, self.problem, self.remedy = path, problem, remedy
        super().__init__(f"No model file at {path} ({problem}); {remedy}")


class ModelFormatError(ModelError, ValueError):
    """The file is empty, truncated, or not ONNX."""

    def __init__(self, model: Path | bytes, problem: str) -> None:
        self.model, self.problem = model_name(model), problem
        super().__init__(f"{self.model} is not a readable ONNX file: {problem}; export or copy it again.")


class NotAGeneratorError(ModelError, ValueError):
    """The file is ONNX without a ganport contract, and its graph is no generator's or leaves something open."""

    def __init__(self, model: Path | bytes, problem: str) -> None:
        self.model, self.problem = model_name(model), problem
        super().__init__(f"{self.model} has no ganport contract, and can't be drawn from without: {problem}.")


class ContractError(ModelError, ValueError):
    """The contract inside the file is malformed, or does not fit the file's graph."""

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"The model's contract is broken at {field!r}: {problem}; export the model again.")


class ContractVersionError(ContractError):
    """The contract has a format that this runtime does not read."""

    def __init__(self, got: object, known: int) -> None:
        super().__init__("format", f"it says {got!r}, this runtime reads {known}")
        self.got, self.known = got, known
        self.args = (
            f"The model's contract has format {got!r}; this runtime reads format {known}: "
            "upgrade ganport, or export the model with this version.",
        )


class InferenceError(ModelError, RuntimeError):
    """The file was loaded, and drawing from it failed."""

    def __init__(self, model: Path | bytes, problem: str) -> None:
        self.model, self.problem = model_name(model), problem
        super().__init__(f"Can't draw from {self.model}: {problem}.")


class WebError(GanportError, RuntimeError):
    """The browser page can't be put together."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"Can't make the page: {problem}; {remedy}.")


class ListenError(GanportError, OSError):
    """The service can't listen where it is told to."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host, self.port, self.problem = host, port, problem
        super().__init__(f"Can't listen on {host}, port {port}: {problem}; name others with --host and --port.")


class EvaluationError(GanportError, ValueError):
    """Images can't be measured as asked."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"Can't evaluate: {problem}.")


class DrawingError(ModelError, ArithmeticError):
    """The file draws other images here than when it was made."""

    def __init__(self, path: Path, provider: str, seeds: Sequence[int]) -> None:
        self.path, self.provider, self.seeds = path, provider, tuple(seeds)
        listed = ", ".join(map(str, seeds))
        super().__init__(
            f"{path} draws other images on {provider} than when it was made (seeds {listed}): copy or export it again, "
            "or draw on another provider."
        )


class RecipeError(GanportError, ValueError):
    """A recipe's numbers do not fit together."""


class DatasetError(GanportError):
    """A data set can't be used."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """No such data set, and no such file or folder."""

    def __init__(self, got: str, remedy: str) -> None:
        self.got, self.remedy = got, remedy
        super().__init__(f"No data set {got!r}; {remedy}")


class DatasetContentError(DatasetError, ValueError):
    """The data is there, but can't be used."""

    def __init__(self, source: object, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"Can't take images from {source}: {problem}")


class RunError(GanportError):
    """A run folder can't be used."""


class RunNotFoundError(RunError, FileNotFoundError):
    """There is no run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"No run in {path}; make one with: ganport train")


class RunExistsError(RunError, FileExistsError):
    """The folder holds a run already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} holds a run already; go on with --resume, or name another folder with --out.")


class RunInUseError(RunError, RuntimeError):
    """Another process trains the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} is being trained by another process; wait for it, or name another run with --out.")


class CheckpointError(RunError, ValueError):
    """A run has no checkpoint that can be used."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"No usable checkpoint in {path}: {problem}")


class DivergedError(RunError, ArithmeticError):
    """A loss is no longer a finite number."""

    def __init__(self, step: int, losses: dict[str, float], kept: int) -> None:
        self.step, self.losses, self.kept = step, losses, kept
        shown = ", ".join(f"{name} {value:g}" for name, value in losses.items()) or "weights that are not finite"
        super().__init__(
            f"Training diverged before step {step} ({shown}); the last good checkpoint is of step {kept}: "
            "lower the learning rates or the R1 weight, and train again."
        )


class ExportError(GanportError):
    """A generator can't be exported."""


class GeneratorError(ExportError, ValueError):
    """The Keras model is none that can be exported."""

    def __init__(self, source: object, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"Can't export {source}: {problem}")


class PrecisionError(ExportError, ValueError):
    """The generator can't be written in this precision."""

    def __init__(self, precision: str, problem: str) -> None:
        self.precision, self.problem = precision, problem
        super().__init__(f"Can't export in {precision}: {problem}; leave out --precision for float32.")


class VerificationError(ExportError, ArithmeticError):
    """The exported graph does not draw what Keras draws; nothing was written."""

    def __init__(self, check: str, measured: float, limit: float, remedy: str = "") -> None:
        self.check, self.measured, self.limit = check, measured, limit
        also = f"; {remedy}" if remedy else ""
        super().__init__(f"Export refused, nothing written: {check} is {measured:.3g}, at most {limit:g} is allowed{also}.")


def model_name(model: Path | bytes) -> str:
    """Return how a message calls a model."""
    return f"the model of {len(model):,} bytes" if isinstance(model, bytes) else str(model)


def printable(text: str) -> str:
    r"""Return text as a terminal may show it: what a file says could move the cursor, or forge lines.

    >>> print(printable("sneaker\x1b[2J é"))
    sneaker\x1b[2J é
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].removeprefix("[ONNXRuntimeError] : ").rstrip(".")


def system_reason(error: OSError) -> str:
    """Return what the system says, without number and path: "permission denied"."""
    return (error.strerror or str(error)).lower()
