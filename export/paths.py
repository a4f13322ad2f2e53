"""Paths of an export: where the generator comes from, and where the file goes.

This module does not import TensorFlow, so that a wrong path is reported at once.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.pretrained import PRETRAINED
from ganport.trainer.errors import RunNotFoundError
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.runs import RUNS, newest_run

from .errors import SourceNotFoundError
from .options import FileFormat, Options, check_source_options

if TYPE_CHECKING:
    import keras

    from ganport.trainer.run import Run

    # What can be exported: a run folder; the path of a .keras or .h5 file or of a SavedModel folder; or a
    # Keras model in memory.
    Found: TypeAlias = RunFolder | Path | keras.Model

# Files in the folder of a Triton model. Triton reads each version of a model from a numbered folder.
_TRITON_MODEL, _TRITON_CONFIG = Path("1") / "model.onnx", "config.pbtxt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadingOptions:
    """How a third-party file is loaded.

    Attributes:
        trust: Whether to run code that the file contains, such as Lambda layers, and `custom_objects`. This
            code can do whatever a Python script can do.
        custom_objects: Python file with the classes and functions that the model uses.
        network: Python file with a function `build_generator`, or JSON file of a Keras architecture, for a
            file that holds only weights.
        signature: Name of the SavedModel's signature that generates images.
        layer: Name of the generator inside of a model that contains it.
    """

    trust: bool = False
    custom_objects: Path | None = None
    network: Path | None = None
    signature: str | None = None
    layer: str | None = None


def is_onnx(path: Path) -> bool:
    """Return whether a path names an ONNX file."""
    return path.suffix.lower() == ".onnx" and not path.is_dir()


def find_source(
    source: Run | str | os.PathLike[str] | keras.Model | None, note: Callable[[str], None]
) -> Found:
    """Return the run folder, the path or the Keras model to export.

    Args:
        source: A run or its folder, a .keras or .h5 file, a SavedModel folder, the name of a pretrained
            generator, or a Keras model. None stands for the newest run under runs/ that has a checkpoint, or
            for the newest run if no run has a checkpoint.
        note: Function that is called with a line of text about the chosen run, if `source` is None.

    Raises:
        RunNotFoundError: The folder is neither a run nor a SavedModel, or there is no run under runs/.
        SourceNotFoundError: There is no such file or folder.
        UsageError: The source has none of these types.
    """
    if source is None:
        return _newest_run(note)
    if isinstance(source, (str, os.PathLike)):
        return _find_path(Path(source))
    if is_keras_model(source):
        return source
    kind = type(source).__name__
    raise UsageError(f"`source` is of type {kind}; it must be a run, a path, or a Keras model.")


def is_keras_model(source: object) -> bool:
    """Return whether an object is a model of Keras 3 or of tf_keras. This function imports neither."""
    frameworks = [sys.modules[name] for name in ("keras", "tf_keras") if name in sys.modules]
    return any(isinstance(source, framework.Model) for framework in frameworks)


def _newest_run(note: Callable[[str], None]) -> RunFolder:
    chosen = newest_run(RUNS, prefer_trained=True)
    is_newest = newest_run(RUNS).path == chosen.path
    note(f"run: {chosen.path} ({'the newest' if is_newest else 'the newest with a checkpoint'})")
    return chosen


def _find_path(path: Path) -> RunFolder | Path:
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return path
        if RunFolder(path).exists():
            return RunFolder(path)
        if is_unpacked_keras(path) or checkpoint_prefix(path):
            return path
        raise RunNotFoundError(path)
    if path.exists() or checkpoint_prefix(path):
        return path
    if str(path) in PRETRAINED:
        return PRETRAINED[str(path)]
    if path.suffix and RunFolder(path.parent).exists():
        raise SourceNotFoundError(path, f"{path.parent} is a run folder; give this folder to export the run")
    raise SourceNotFoundError(path)


def is_unpacked_keras(path: Path) -> bool:
    """Return whether a path is a folder with the content of a .keras file."""
    return all((path / name).is_file() for name in ("config.json", "metadata.json", "model.weights.h5"))


def checkpoint_prefix(path: Path) -> Path | None:
    """Return the path of the files of a TensorFlow checkpoint without their endings; None for no checkpoint.

    Args:
        path: This path itself, one of the files, or a folder of checkpoints. In a folder, the newest
            checkpoint is taken, which is named in the file "checkpoint".
    """
    if path.is_dir():
        return _newest_checkpoint(path)
    prefix = path.with_name(re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path.name))
    return prefix if _index_file(prefix).is_file() else None


def _newest_checkpoint(folder: Path) -> Path | None:
    prefixes = [path.with_suffix("") for path in folder.glob("*.index")]
    named = folder / "checkpoint"
    if named.is_file():
        found = re.search(r'^model_checkpoint_path: "(.*)"', named.read_text(errors="replace"), re.MULTILINE)
        # The path may be that of the machine that trained.
        name = Path(found[1].replace("\\", "/")).name if found else ""
        if folder / name in prefixes:
            return folder / name
    return max(prefixes, key=_step, default=None)


def _step(prefix: Path) -> tuple[int, str]:
    """Return the number at the end of the name of a checkpoint, which counts upwards, and the name."""
    number = re.search(r"\d+$", prefix.name)
    return (int(number[0]) if number else -1), prefix.name


def _index_file(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def check_ending(path: str | os.PathLike[str] | None, file_format: FileFormat) -> None:
    """Raise UsageError if the user gave a path whose ending does not match the file format."""
    if path is not None and file_format != "triton" and Path(path).suffix != f".{file_format}":
        raise UsageError(
            f"`path` is {path}; with `file_format={file_format!r}` it must end in .{file_format}."
        )


def default_path(source: Found, file_format: FileFormat) -> Path:
    """Return the path to write to if the user gave no path: a file, or the folder of a Triton model.

    For a run, the exported file lies in the run folder and has the name "generator". For a file or a
    SavedModel folder, the exported file lies beside this source and has the name of the source. That of a
    pretrained generator lies in the current folder. The ending
    is .onnx, .ort or .c, depending on the format. The export of NAME.onnx as .onnx is NAME-exported.onnx. A
    Triton model gets the folder triton/NAME in the same place, where NAME is the name of the run or of the
    source.

    Raises:
        UsageError: The source is a Keras model in memory, for which the user must give a path.
    """
    if isinstance(source, RunFolder):
        default = source.onnx_file
        name = source.path.resolve().name
    elif isinstance(source, Path):
        default = with_name(source).with_suffix(".onnx")
        name = default.stem
        if source in PRETRAINED.values():
            default = Path(default.name)
        if is_onnx(source) and file_format == "onnx":
            default = default.with_stem(f"{name}-exported")
    else:
        raise UsageError("`path` is missing; a Keras model in memory needs one, such as generator.onnx.")
    if file_format == "triton":
        return default.with_name("triton") / name
    return default.with_suffix(f".{file_format}")


def with_name(path: Path) -> Path:
    """Return the path, or the resolved path if the path (such as ".") does not end in a name."""
    return path if path.name else path.resolve()


def model_file(path: Path, file_format: FileFormat) -> Path:
    """Return the path of the model file: `path` itself, or for Triton a file in the folder `path`."""
    return path / _TRITON_MODEL if file_format == "triton" else path


def c_files(path: Path) -> tuple[Path, Path, Path]:
    """Return the paths of the C file `path`, of its header, and of its contract in JSON."""
    return path, path.with_suffix(".h"), path.with_suffix(".json")


def operators_file(path: Path) -> Path:
    """Return the path of the list of operators that lies beside a file in the ORT format."""
    return path.with_suffix(".config")


def description_file(path: Path) -> Path:
    """Return the path of the description in JSON that lies beside a file for a target."""
    return path.with_suffix(".json")


def triton_config_file(path: Path) -> Path:
    """Return the path of the configuration file of the Triton model in the folder `path`."""
    return path / _TRITON_CONFIG


def check_path(
    path: Path, options: Options, file_format: FileFormat = "onnx", *, overwrite: bool = False
) -> None:
    """Raise an error if the export can't be written to `path`. This check comes before all computation.

    Raises:
        UsageError: The format is "triton", and the model has no inputs. Or the format is "c", and an option
            does not fit C.
        OutputError: A file of the export exists and `overwrite` is false, or there is a folder in its place.
    """
    if file_format == "c":
        check_source_options(options)
        if any(each in path.name for each in '"\\\n'):
            raise UsageError(
                f"`path` is {path}; the name of a C file must contain neither quotes nor backslashes, since "
                "another file includes it."
            )
    if file_format == "triton" and options.input_kind == "fixed":
        raise UsageError(
            "`file_format='triton'` does not take a model without inputs; use `input_kind='latent'` or "
            "`input_kind='seed'`."
        )
    for file in c_files(path) if file_format == "c" else [model_file(path, file_format)]:
        check_replaceable(file, overwrite)
    if file_format == "triton":
        check_replaceable(triton_config_file(path), overwrite)
    if file_format == "ort":
        check_replaceable(operators_file(path), overwrite)
    if options.target is not None:
        if file_format != "onnx":
            raise UsageError(
                f"`target={options.target!r}` is for `file_format='onnx'`, and `file_format` is "
                f"{file_format!r}; leave one of them out."
            )
        check_replaceable(description_file(path), overwrite)


def check_is_other(path: Path, source: Found) -> None:
    """Raise OutputError if an export would replace its own source."""
    if isinstance(source, Path) and path.exists() and path.samefile(source):
        raise OutputError(path, "it is the file to export", "choose another `path`.")


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Raise OutputError if the path is a folder, or a file that must not be replaced."""
    if path.is_dir():
        raise OutputError(path, "it is a folder", "choose another `path`.")
    if path.exists() and not overwrite:
        raise OutputError(path, "it exists", "replace it with `overwrite=True`, or choose another `path`.")
