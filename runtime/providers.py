"""Execution providers: a session on the device that was asked for, or an error that says why not.

onnxruntime lists providers as available whose libraries do not load, changes to the CPU in their place, and says why only on
stderr. So a provider is tried on a model of one node first; what counts is what a finished session says of itself, and what was
printed on the way becomes the error's reason. A session that starts may still leave the work to the CPU, operation by
operation: where the convolutions and products went is looked up, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import io
import math
import os
import re
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from .errors import MissingPackageError, ModelFormatError, ProviderError, UnknownProviderError, first_line, model_name
from .onnx_file import is_ort_format
from .stderr import captured_stderr

# onnxruntime's packages report events to Microsoft over HTTPS unless this is set before they are imported. Whoever embeds this
# folder has not agreed to that; to allow it, set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@dataclasses.dataclass(frozen=True)
class Provider:
    """One of onnxruntime's execution providers.

    Attributes:
        name: onnxruntime's.
        remedy: how to get it.
        system: the only one that has it, as in sys.platform; any, if empty.
        options: that it is started with.
    """

    name: str
    remedy: str
    system: str = ""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)


AUTO = "auto"
_APART = "in an environment of its own, run: pip install"
# TF32, the default on newer GPUs, keeps 10 bits of a product: enough to move pixels by whole levels. The search for the fastest
# convolution takes 20 times as long if it is exhaustive, and finds none that is faster (H100, rps-dcgan).
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "run: pip install 'ganport[cpu]'"),
    "cuda": Provider("CUDAExecutionProvider", f"{_APART} 'ganport[cuda]'", options=_CUDA_OPTIONS),
    "tensorrt": Provider("TensorrtExecutionProvider", f"{_APART} 'ganport[cuda]' tensorrt-cu13-libs"),
    "openvino": Provider(
        # It takes bfloat16 on CPUs that have it, unless it is told not to.
        "OpenVINOExecutionProvider",
        f"{_APART} 'ganport[openvino]'",
        options={"device_type": "CPU", "precision": "ACCURACY"},
    ),
    "directml": Provider("DmlExecutionProvider", f"{_APART} 'ganport[directml]'", "win32"),
    "coreml": Provider("CoreMLExecutionProvider", "run: pip install 'ganport[cpu]'", "darwin", {"ModelFormat": "MLProgram"}),
}
# From the fastest on. TensorRT is not among them: it takes minutes to build an engine, which nobody asked for.
_AUTO_ORDER = ("cuda", "directml", "coreml", "openvino", "cpu")

_ONLY_FATAL = 4  # onnxruntime's log level; everything below reaches the caller as an exception or is checked for
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")  # they overwrite each other
# ONNX: float32 y(1) = Identity(x), opset 13.
ONE_NODE = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01pZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
_LOADER_REASON = re.compile(r"with error: (.+)")
_NOT_PRELOADED = re.compile(r"Failed to load (\S+?):")
_HEAVY = re.compile(
    r"(Fused|NhwcFused|Q|QLinear)?(Conv(Transpose|Integer)?|MatMul(Integer)?|Gemm)|Attention|LSTM|GRU|RNN|Einsum"
)


def open_session(model: Path | bytes, provider: str, threads: int, repeatable: bool = False) -> Any:
    """Return an onnxruntime.InferenceSession of the model on that provider, and on no other.

    Args:
        model: an ONNX file that exists, or its bytes.
        provider: a key of PROVIDERS.
        threads: within an operation; operations run one after the other, since generators are chains.
        repeatable: take only algorithms that give the same bytes each time.

    Raises:
        UnknownProviderError: no such provider.
        MissingPackageError: onnxruntime is not installed.
        ProviderError: the provider can't be used here; the message says why, and what to do.
        ModelFormatError: onnxruntime can't read the file.
    """
    check_provider(provider)
    ort = _import_onnxruntime()
    if provider != "cpu":
        _try_provider(ort, provider)
    session = _create_session(ort, model, provider, threads, repeatable)
    # The trial above was on another model, so the promise is checked on this one.
    name = PROVIDERS[provider].name
    if session.get_providers()[0] != name:
        used = ", ".join(session.get_providers())
        raise ProviderError(provider, f"onnxruntime started {used} in its place", PROVIDERS[provider].remedy)
    if elsewhere := [kind for kind in _placed_elsewhere(session, name) if _HEAVY.fullmatch(kind)]:
        problem = (
            f"onnxruntime leaves {len(elsewhere)} of {model_name(model)}'s operations to the CPU ({', '.join(set(elsewhere))})"
        )
        raise ProviderError(provider, problem, "export it with ganport, or draw with --provider cpu")
    return session


def choose_provider(refused: Container[str] = ()) -> tuple[str, dict[str, str]]:
    """Return the fastest provider that works here, and why those that this onnxruntime has and that are faster don't.

    Args:
        refused: providers that are not to be tried.

    Raises:
        MissingPackageError: onnxruntime is not installed.
    """
    ort = _import_onnxruntime()
    passed_over: dict[str, str] = {}
    for provider in _AUTO_ORDER:
        if provider in refused or PROVIDERS[provider].name not in ort.get_available_providers():
            continue
        try:
            _try_provider(ort, provider)
        except ProviderError as error:
            passed_over[provider] = error.problem
        else:
            return provider, passed_over
    raise ProviderError(AUTO, f"this onnxruntime {ort.__version__} has no provider that works", PROVIDERS["cpu"].remedy)


def check_provider(provider: str, *others: str) -> None:
    """Raise UnknownProviderError unless it is one that there is, or one of the other names that are taken there."""
    if provider not in (*PROVIDERS, *others):
        raise UnknownProviderError(provider, (*PROVIDERS, *others))


def uses_graphs(session: Any) -> bool:
    """Return whether a session replays what it once captured of the work for a batch, which only takes bound buffers."""
    options = session.get_provider_options().get(PROVIDERS["cuda"].name, {})
    return bool(options.get("enable_cuda_graph") == "1")


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("onnxruntime", "drawing images", "cpu") from error
    return onnxruntime


def _create_session(ort: Any, model: Path | bytes, provider: str, threads: int, repeatable: bool) -> Any:
    chosen = dict(PROVIDERS[provider].options)
    if repeatable and provider == "cuda":
        # What cuDNN's search finds adds in any order. `use_deterministic_compute` changes nothing about that in 1.31.
        chosen["cudnn_conv_algo_search"] = "DEFAULT"
    if provider in ("cuda", "tensorrt"):
        # The provider complains of plans that it then does without in a log of the process, not of the session.
        ort.set_default_logger_severity(_ONLY_FATAL)
    if provider == "openvino":
        chosen["num_of_threads"] = str(threads)
    # A captured graph takes half of the time at a batch of one; it takes a model that is on the GPU to the last operation.
    attempts = [{**chosen, "enable_cuda_graph": "1"}, chosen] if provider == "cuda" else [chosen]
    for number, settings in enumerate(attempts, 1):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ONLY_FATAL
        # It would look for the other format's mark in either.
        options.add_session_config_entry("session.load_model_format", "ORT" if is_ort_format(model) else "ONNX")
        options.enable_mem_pattern = provider != "directml"  # which has none
        if provider != "cpu":
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            # With its fallback on, which is the default, both this line and run() change to the CPU after an error, and only
            # print.
            return ort.InferenceSession(model, options, providers=[(PROVIDERS[provider].name, settings)], enable_fallback=0)
        except onnxruntime_errors() as error:
            if number < len(attempts) and "graph capture" in str(error):
                continue
            if provider != "cpu":
                # The provider itself works, as the trial has shown; this may be memory, or an operation that it lacks.
                problem = f"it does not take {model_name(model)} ({first_line(error)})"
                raise ProviderError(provider, problem, "try --provider cpu") from error
            raise ModelFormatError(model, first_line(error)) from error
    raise AssertionError("the last attempt returns or raises")


def _placed_elsewhere(session: Any, name: str) -> list[str]:
    """Return the kinds of operations that a session runs on another provider than that of the name."""
    if name == PROVIDERS["cpu"].name or not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    return [
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != name
        for node in part.get_nodes()
    ]


def usable_cores() -> int:
    """Return how many cores this process may use: those of its affinity, or fewer where its control group has a quota.

    What onnxruntime takes by itself is the machine's number, which in a container can be many times that.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # "max 100000" where there is no limit
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def _try_provider(ort: Any, provider: str) -> None:
    """Raise ProviderError, with onnxruntime's own reason, unless a session of one node starts on a provider."""
    wanted = PROVIDERS[provider]
    if wanted.system not in ("", sys.platform):
        raise ProviderError(provider, f"it is for {wanted.system} only, this is {sys.platform}", "try --provider auto")
    installed = installed_wheels()
    if len(installed) > 1:
        remedy = f"run: pip uninstall -y {' '.join(WHEELS)}; then {wanted.remedy}"
        raise ProviderError(provider, f"{' and '.join(installed)} are installed together and overwrite each other", remedy)
    if wanted.name not in ort.get_available_providers():
        raise ProviderError(provider, f"this onnxruntime {ort.__version__} is built without it", wanted.remedy)
    missing = _preload(ort) if provider in ("cuda", "tensorrt") else []
    with captured_stderr() as captured:
        try:
            session = ort.InferenceSession(ONE_NODE, providers=[(wanted.name, dict(wanted.options))], enable_fallback=0)
            started, reason = session.get_providers()[0], ""
        except onnxruntime_errors() as error:
            started, reason = "nothing", first_line(error)
    if started != wanted.name:
        loader = _LOADER_REASON.search(captured.getvalue())
        problem = loader[1] if loader else reason or f"onnxruntime started {started} in its place"
        if missing:
            problem += f" (not found: {', '.join(missing)})"
        raise ProviderError(provider, problem, _remedy(wanted, problem))
    if sys.stderr is not None:
        sys.stderr.write(captured.getvalue())  # of a provider that works: warnings, or another thread's lines


def _preload(ort: Any) -> list[str]:
    """Load the libraries of the nvidia packages, which are not on the loader's path; return the names of those not found."""
    if not hasattr(ort, "preload_dlls"):
        return []
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls(directory="")
    _preload_tensorrt()
    return _NOT_PRELOADED.findall(printed.getvalue())


def _preload_tensorrt() -> None:
    import sysconfig

    folder = Path(sysconfig.get_path("purelib"), "tensorrt_libs")
    for library in (*folder.glob("libnvinfer.so.*"), *folder.glob("libnvonnxparser.so.*")):
        with contextlib.suppress(OSError):  # the session says what is missing
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _remedy(wanted: Provider, problem: str) -> str:
    if "libcuda." in problem or "driver" in problem or "device" in problem:
        return f"it takes an NVIDIA GPU and {driver_needed()}; look with: nvidia-smi"
    return wanted.remedy


def cuda_version() -> str:
    """Return the version of CUDA that the installed onnxruntime was built for, such as "13.0"; empty where for none."""
    with contextlib.suppress(ImportError, AttributeError):
        from onnxruntime.capi import build_and_package_info

        return str(build_and_package_info.cuda_version)
    return ""


def driver_needed() -> str:
    """Return which driver of NVIDIA's the wheel's CUDA takes."""
    major = cuda_version().partition(".")[0]
    series = {"12": "525", "13": "580"}.get(major)
    return f"a driver of series {series} or newer, for CUDA {major}" if series else "a recent driver"


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises when it can't make or run a session; it has no class for them all."""
    state = _import_onnxruntime().capi.onnxruntime_pybind11_state
    names = (
        "InvalidProtobuf",
        "InvalidGraph",
        "InvalidArgument",
        "NotImplemented",
        "Fail",
        "RuntimeException",
        "EPFail",
        "NoSuchFile",
        "NoModel",
    )
    return *(getattr(state, name) for name in names), RuntimeError, ValueError


def installed_wheels() -> list[str]:
    """Return which of the onnxruntime distributions, with versions, are installed; two of them overwrite each other."""
    from importlib import metadata  # 25 ms, and needed for an error message only

    found = []
    for wheel in WHEELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{wheel} {metadata.version(wheel)}")
    return found
