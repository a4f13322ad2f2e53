"""Execution providers: a session on the device that was asked for, or an error that says why not.

onnxruntime lists providers as available whose libraries do not load, changes to the CPU in their place, and says why only on
stderr. So a provider is tried on a model of one node first; what counts is what a finished session says of itself, and what was
printed on the way becomes the error's reason.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import MissingPackageError, ModelFormatError, ProviderError, UnknownProviderError, first_line, model_name
from .stderr import captured_stderr

# onnxruntime's packages report events to Microsoft over HTTPS unless this is set before they are imported. Whoever embeds this
# folder has not agreed to that; to allow it, set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

PROVIDERS: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_ONLY_FATAL = 4  # onnxruntime's log level; everything below reaches the caller as an exception or is checked for
_WHEELS = ("onnxruntime", "onnxruntime-gpu")
# ONNX: float32 y(1) = Identity(x), opset 13.
ONE_NODE = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01pZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
_LOADER_REASON = re.compile(r"with error: (.+)")
_CUDA_REMEDY = "in an environment of its own, run: pip install 'ganport[cuda]'"


def open_session(model: Path | bytes, provider: str, threads: int) -> Any:
    """Return an onnxruntime.InferenceSession of the model on that provider, and on no other.

    Args:
        model: an ONNX file that exists, or its bytes.
        provider: a key of PROVIDERS.
        threads: within an operation; operations run one after the other, since generators are chains.

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
        _check_cuda(ort)
    session = _create_session(ort, model, PROVIDERS[provider], threads)
    # The trial above was on another model, so the promise is checked on this one.
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


def _create_session(ort: Any, model: Path | bytes, provider: str, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_FATAL
    # TF32, the default on newer GPUs, keeps 10 bits of a product: enough to move pixels by whole levels.
    chosen = (provider, {"use_tf32": "0"}) if provider == PROVIDERS["cuda"] else provider
    try:
        # With its fallback on, which is the default, both this line and run() change to the CPU after an error, and only print.
        return ort.InferenceSession(model, options, providers=[chosen], enable_fallback=0)
    except onnxruntime_errors() as error:
        if provider != PROVIDERS["cpu"]:
            # CUDA itself works, as the trial has shown; this may be memory, or an operation that it lacks.
            raise ProviderError(
                "cuda", f"it does not take {model_name(model)} ({first_line(error)})", "try --provider cpu"
            ) from error
        raise ModelFormatError(model, first_line(error)) from error


def usable_cores() -> int:
    """Return how many cores this process may use: those of its affinity, or fewer where its control group has a quota.

    What onnxruntime takes by itself is the machine's number, which in a container can be many times that.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # "max 100000" where there is no limit
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def _check_cuda(ort: Any) -> None:
    """Raise ProviderError, with onnxruntime's own reason, unless a session of one node starts on CUDA."""
    installed = installed_wheels()
    if len(installed) > 1:
        remedy = "run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'ganport[cuda]'"
        raise ProviderError("cuda", f"{' and '.join(installed)} are both installed and overwrite each other", remedy)
    if PROVIDERS["cuda"] not in ort.get_available_providers():
        raise ProviderError("cuda", f"this onnxruntime {ort.__version__} is built for the CPU only", _CUDA_REMEDY)
    # The libraries of the nvidia packages are not on the loader's path. What this can't find it prints, on stdout; which of
    # them matters, the session below says better.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls(directory="")
    with captured_stderr() as captured:
        try:
            session = ort.InferenceSession(ONE_NODE, providers=[PROVIDERS["cuda"]], enable_fallback=0)
            started, reason = session.get_providers()[0], ""
        except onnxruntime_errors() as error:
            started, reason = "nothing", first_line(error)
    if started != PROVIDERS["cuda"]:
        loader = _LOADER_REASON.search(captured.getvalue())
        problem = loader[1] if loader else reason or f"onnxruntime started {started} in its place"
        raise ProviderError("cuda", problem, _cuda_remedy(problem))
    sys.stderr.write(captured.getvalue())  # of a CUDA that works: warnings, or another thread's lines


def _cuda_remedy(problem: str) -> str:
    if "libcuda." in problem or "driver" in problem or "device" in problem:
        return "it takes an NVIDIA GPU and its driver, series 580 or newer for CUDA 13; look with: nvidia-smi"
    return _CUDA_REMEDY


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises when it can't make or run a session; it has no class for them all."""
    state = _import_onnxruntime().capi.onnxruntime_pybind11_state
    names = ("InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented", "Fail", "RuntimeException", "EPFail")
    return *(getattr(state, name) for name in names), RuntimeError, ValueError


def installed_wheels() -> list[str]:
    """Return which of the onnxruntime distributions, with versions, are installed; two of them overwrite each other."""
    from importlib import metadata  # 25 ms, and needed for an error message only

    found = []
    for wheel in _WHEELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{wheel} {metadata.version(wheel)}")
    return found
