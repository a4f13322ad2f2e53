"""Errors of the export."""

from __future__ import annotations

from pathlib import Path

from ganport.runtime.errors import GanportError


class ExportError(GanportError):
    """A generator can't be exported."""


class SourceNotFoundError(ExportError, FileNotFoundError):
    """There is no file or folder to export at this path."""

    def __init__(self, path: Path, hint: str = "") -> None:
        self.path, self.hint = path, hint
        expected = "give a run folder, a .keras or .h5 file, or a SavedModel"
        super().__init__(f"No file or folder at {path}; {hint or expected}.")


class GeneratorError(ExportError, ValueError):
    """The model can't be exported: it is not a generator, or an operation of it is not supported."""

    def __init__(self, source: object, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"Can't export {source}: {problem}")


class KerasBackendError(ExportError, RuntimeError):
    """Keras uses a backend other than TensorFlow."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        super().__init__(
            f"Can't export with the {backend} backend of Keras; the export needs the TensorFlow backend: set "
            "the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )


class PrecisionError(ExportError, ValueError):
    """The generator's weights can't be stored in this precision."""

    def __init__(self, precision: str, problem: str) -> None:
        self.precision, self.problem = precision, problem
        super().__init__(f"Can't export in {precision}: {problem}; leave `precision` out for float32.")


class VerificationError(ExportError, ArithmeticError):
    """The exported graph does not generate the images of the Keras model. Nothing was written."""

    def __init__(self, check: str, measured: float, limit: float, remedy: str = "") -> None:
        self.check, self.measured, self.limit, self.remedy = check, measured, limit, remedy
        values = f"{check} is {measured:.3g}, the limit is {limit:g}"
        also = f"; {remedy}" if remedy else ""
        super().__init__(f"Verification failed, nothing was written: {values}{also}.")
