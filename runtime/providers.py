"""Execution providers: a session on the device that was asked for, or an error that says why not.

onnxruntime itself changes to the CPU without a word where a provider's libraries do not load, and lists providers as
available that can't be used. So the libraries are loaded first, by hand, where the loader names what is missing; and what
counts in the end is what the finished session says of itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import MissingPackageError, ModelFormatError, ProviderError, UnknownProviderError

PROVIDERS: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_ONLY_FATAL = 4  # onnxruntime's log level; everything below reaches the caller as an exception or is checked for
_WHEELS = ("onnxruntime", "onnxruntime-gpu")
_CUDA_REMEDY = "in an environment of its own, run: pip install 'ganport[cuda]'"


def open_session(path: Path, provider: str) -> Any:
    """Return an onnxruntime.InferenceSession of the file on that provider, and on no other.

    Args:
        path: an ONNX file that exists.
        provider: a key of PROVIDERS.

    Raises:
        UnknownProviderError: no such provider.
        MissingPackageError: onnxruntime is not installed.
        ProviderError: the provider can't be used here; the message says why, and what to do.
        ModelFormatError: onnxruntime can't read the file.
    """
    if provider not in PROVIDERS:
        raise UnknownProviderError(provider, tuple(PROVIDERS))
    ort = _import_onnxruntime()
    if provider == "cuda":
        _load_cuda(ort)
    session = _create_session(ort, path, PROVIDERS[provider])
    if session.get_providers()[0] != PROVIDERS[provider]:
        used = ", ".join(session.get_providers())
        raise ProviderError(provider, f"onnxruntime started {used} in its place", _CUDA_REMEDY)
    return session


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("onnxruntime", "drawing images", "cpu") from error
    return onnxruntime


def _create_session(ort: Any, path: Path, provider: str) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    errors = ort.capi.onnxruntime_pybind11_state
    unreadable = (errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.NotImplemented, errors.Fail)
    try:
        session = ort.InferenceSession(path, options, providers=[provider])
    except unreadable as error:
        raise ModelFormatError(path, _first_line(error)) from error
    session.disable_fallback()  # without this, a failing run() changes to the CPU and only prints
    return session


def _load_cuda(ort: Any) -> None:
    """Load CUDA, cuDNN and the CUDA provider, or raise ProviderError with the loader's own words."""
    installed = installed_wheels()
    if len(installed) > 1:
        remedy = "run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'ganport[cuda]'"
        raise ProviderError("cuda", f"{' and '.join(installed)} are both installed and overwrite each other", remedy)
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        raise ProviderError("cuda", f"this onnxruntime {ort.__version__} is built for the CPU only", _CUDA_REMEDY)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ort.preload_dlls(directory="")  # the libraries of the nvidia packages; it prints what it can't find, and goes on
    try:
        for library in sorted(Path(ort.__file__).parent.glob("capi/*onnxruntime_providers_*cuda*")):
            ctypes.CDLL(str(library))
    except OSError as error:
        problem = f"a CUDA library does not load ({_first_line(error)})"
        raise ProviderError("cuda", problem, _cuda_remedy(printed.getvalue())) from error


def _cuda_remedy(printed: str) -> str:
    if "Failed to load" in printed:
        return _CUDA_REMEDY
    return "install an NVIDIA driver that fits (series 580 or newer for CUDA 13)"


def installed_wheels() -> list[str]:
    """Return which of the onnxruntime distributions, with versions, are installed; two of them overwrite each other."""
    found = []
    for wheel in _WHEELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{wheel} {metadata.version(wheel)}")
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removeprefix("[ONNXRuntimeError] : ").rstrip(".")
