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
        expected = (
            "give a run folder, a .keras, .h5 or .onnx file, a SavedModel, or a pretrained generator's name"
        )
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


class TargetError(ExportError, ValueError):
    """The generator's graph can't be written for this target."""

    def __init__(self, target: str, problem: str, remedy: str) -> None:
        self.target, self.problem, self.remedy = target, problem, remedy
        super().__init__(f"Can't export for {target}: {problem}; {remedy}. Nothing was written.")


class UnsupportedOperatorError(ExportError, ValueError):
    """The generator's graph contains an operator for which there is no C code."""

    def __init__(self, operator: str, remedy: str = "") -> None:
        self.operator, self.remedy = operator, remedy
        also = f" ({remedy})" if remedy else ""
        super().__init__(
            f"Can't export as C: there is no C code for {operator}{also}. Replace this operation in the "
            "model, or leave `file_format` out for an .onnx file, which onnxruntime runs."
        )


class SourceSizeError(ExportError, ValueError):
    """The C source would be too large for a compiler."""

    def __init__(self, megabytes: float, limit: float, precision: str) -> None:
        self.megabytes, self.limit, self.precision = megabytes, limit, precision
        smaller = {"float32": "`precision='float16'` or `precision='int8'` make it smaller"}
        remedy = smaller.get(precision, "`precision='int8'` makes it smaller")
        if precision == "int8":
            remedy = "leave `file_format` out for an .onnx file"
        super().__init__(
            f"Can't export as C: the source would have {megabytes:.0f} MB of text, the limit is "
            f"{limit:.0f} MB; {remedy}."
        )


class VerificationError(ExportError, ArithmeticError):
    """The exported graph does not generate the images of the Keras model. Nothing was written."""

    def __init__(self, check: str, measured: float, limit: float, remedy: str = "") -> None:
        self.check, self.measured, self.limit, self.remedy = check, measured, limit, remedy
        values = f"{check} is {measured:.3g}, the limit is {limit:g}"
        also = f"; {remedy}" if remedy else ""
        super().__init__(f"Verification failed, nothing was written: {values}{also}.")
