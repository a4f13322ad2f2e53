"""Execution providers: a session on the requested device, or an error that says why not.

onnxruntime lists a provider as available even if the provider's libraries do not load. A session then runs
on the CPU instead, and the reason is printed on stderr only. So a provider is first tried on a model of one
node. The open session tells which provider it uses, and the printed text becomes the reason in the error. A
session that starts may still leave operations to the CPU. So the placement of convolutions and matrix
products is checked as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from .display import first_line, model_name
from .errors import (
    InferenceError,
    MissingPackageError,
    ModelFormatError,
    ProviderError,
    UnknownProviderError,
    UnsupportedModelError,
)
from .onnx_file import is_ort_format
from .plugins import Plugin, find_device, load
from .stderr import captured_stderr

# onnxruntime's packages report events to Microsoft over HTTPS unless ORT_DISABLE_TELEMETRY is 1 before
# they are imported. The value is set here, because the users of an app that embeds this folder have not
# agreed to the reports. To allow the reports, set the variable to 0 in the environment.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


ProviderName = Literal["cpu", "cuda", "tensorrt", "nvrtx", "openvino", "directml", "coreml", "webgpu"]
ProviderChoice = Literal[
    "cpu", "cuda", "tensorrt", "nvrtx", "openvino", "directml", "coreml", "webgpu", "auto"
]


class Provider(NamedTuple):
    """One of onnxruntime's execution providers.

    Attributes:
        name: Name of the provider in onnxruntime.
        remedy: Instruction that installs the provider.
        system: The only `sys.platform` that supports the provider; empty for all platforms.
        options: Provider options for new sessions.
        plugin: Package that onnxruntime loads if the provider is not built in.
    """

    name: str
    remedy: str
    system: str = ""
    options: Mapping[str, str] = MappingProxyType({})
    plugin: Plugin | None = None


AUTO = "auto"
_SEPARATELY = "in a separate environment, run: pip install"
# TF32, the default on newer GPUs, rounds the factors of a product to 10 bits of mantissa. This changes pixel
# values (0 to 255) by 1 or more. An exhaustive search for the fastest convolution algorithm takes 20 times as
# long as the heuristic, and finds no faster algorithm (H100, rps-dcgan).
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
_WEBGPU_NEEDS = (
    "it needs a GPU with a driver for Direct3D 12, Metal or Vulkan; "
    "on Linux it also needs the Vulkan loader (libvulkan.so.1)"
)
PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "run: pip install 'ganport[cpu]'"),
    "cuda": Provider("CUDAExecutionProvider", f"{_SEPARATELY} 'ganport[cuda]'", options=_CUDA_OPTIONS),
    "tensorrt": Provider("TensorrtExecutionProvider", f"{_SEPARATELY} 'ganport[cuda]' tensorrt-cu13-libs"),
    "nvrtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        "run: pip install 'ganport[nvrtx]'",
        plugin=Plugin(
            "onnxruntime_ep_nv_tensorrt_rtx",
            "it needs an NVIDIA RTX GPU and a driver for CUDA 13; check with: nvidia-smi",
        ),
    ),
    "openvino": Provider(
        # By default OpenVINO computes in bfloat16 on CPUs that support it. This option keeps float32.
        "OpenVINOExecutionProvider",
        f"{_SEPARATELY} 'ganport[openvino]'",
        options={"device_type": "CPU", "precision": "ACCURACY"},
        plugin=Plugin(
            "onnxruntime_ep_openvino", "it needs a processor that OpenVINO supports", {"ov_device": "CPU"}
        ),
    ),
    "directml": Provider("DmlExecutionProvider", f"{_SEPARATELY} 'ganport[directml]'", "win32"),
    "coreml": Provider(
        "CoreMLExecutionProvider", "run: pip install 'ganport[cpu]'", "darwin", {"ModelFormat": "MLProgram"}
    ),
    "webgpu": Provider(
        "WebGpuExecutionProvider",
        "run: pip install 'ganport[webgpu]'",
        plugin=Plugin("onnxruntime_ep_webgpu", _WEBGPU_NEEDS),
    ),
}
# Providers in the order in which "auto" tries them, the fastest first. TensorRT and
# TensorRT RTX are left out, because they take minutes to build an engine. WebGPU is left out, because its
# speed on a GPU has not been measured.
_AUTO_ORDER: tuple[ProviderName, ...] = ("cuda", "directml", "coreml", "openvino", "cpu")

# Log level of onnxruntime at which it prints fatal errors only. Other problems need no log, because they
# raise an exception or are found by a check in this module.
_ONLY_FATAL = 4
# These packages install into the same folder and overwrite each other.
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
# An ONNX model of one node: y = Identity(x), float32 of shape (1,), opset 13.
ONE_NODE = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01pZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
# Matches the reason in a line that onnxruntime, or the WebGPU plugin, prints if a library does not load.
_LOADER_REASON = r"(?:with error|Couldn't load Vulkan): (.+)"
# Matches what precedes the reason in an error of a plugin: places in the source code and failed conditions.
_BEFORE_PLUGIN_REASON = r"^.* was false\. "
# Matches the name of a library in a line that `preload_dlls` prints if the library does not load.
_NOT_PRELOADED = r"Failed to load (\S+?):"
# The WebGPU plugin's text about a device without the feature shader-f16.
_NO_FLOAT16 = "requires f16 but the device does not support it"
# Operations that must not run on the CPU if another provider was requested.
_HEAVY = (
    r"(Fused|NhwcFused|Q|QLinear)?(Conv(Transpose|Integer)?|MatMul(Integer)?|Gemm)|"
    "Attention|LSTM|GRU|RNN|Einsum"
)


def open_session(
    model: Path | bytes, provider: str, threads: int, *, repeatable: bool = False, capture: bool = True
) -> Any:
    """Return an onnxruntime.InferenceSession of the model on the given provider, and on no other.

    Args:
        model: An existing ONNX file, or its bytes.
        provider: A key of PROVIDERS.
        threads: Number of threads that compute one operation. Operations run one after the other, because
            generators are chains of operations.
        repeatable: Whether to use only algorithms that give the same bytes each time.
        capture: Whether CUDA may capture the graph. The session then needs fixed buffers; see `uses_graphs`.

    Raises:
        UnknownProviderError: There is no such provider.
        MissingPackageError: onnxruntime is not installed.
        ProviderError: The provider is not available here; the message says why, and what to do.
        ModelFormatError: onnxruntime can't read the file.
        UnsupportedModelError: The file needs something that this onnxruntime does not have.
    """
    check_provider(provider)
    ort = _import_onnxruntime()
    if provider != "cpu":
        _try_provider(ort, provider)
    session = _create_session(ort, model, provider, threads, repeatable, capture)
    # The provider was tried above with a different model, so this session is checked as well.
    chosen = PROVIDERS[provider]
    if session.get_providers()[0] != chosen.name:
        used = ", ".join(session.get_providers())
        raise ProviderError(provider, f"onnxruntime started {used} in its place", chosen.remedy)
    if elsewhere := [kind for kind in _placed_elsewhere(session, chosen.name) if re.fullmatch(_HEAVY, kind)]:
        kinds = ", ".join(sorted(set(elsewhere)))
        problem = (
            f"onnxruntime leaves {len(elsewhere)} operations of {model_name(model)} to the CPU ({kinds})"
        )
        raise ProviderError(provider, problem, "export the model with ganport, or choose `provider='cpu'`")
    return session


def choose_provider(rejected: Container[str] = ()) -> tuple[ProviderName, dict[str, str]]:
    """Return the fastest provider that works here, and the reasons why faster ones do not.

    Args:
        rejected: Providers that must not be chosen.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        ProviderError: No provider works.
    """
    ort = _import_onnxruntime()
    passed_over: dict[str, str] = {}
    for provider in _AUTO_ORDER:
        if provider in rejected or not _is_installed(ort, provider):
            continue
        try:
            _try_provider(ort, provider)
        except ProviderError as error:
            passed_over[provider] = error.problem
        else:
            return provider, passed_over
    raise ProviderError(
        AUTO, f"this onnxruntime {ort.__version__} has no provider that works", PROVIDERS["cpu"].remedy
    )


def _is_installed(ort: Any, provider: str) -> bool:
    """Return whether onnxruntime has a provider, or a plugin with the provider is installed."""
    plugin = PROVIDERS[provider].plugin
    is_built_in = PROVIDERS[provider].name in ort.get_available_providers()
    return is_built_in or (plugin is not None and plugin.is_installed)


def check_provider(provider: str, *others: str) -> None:
    """Raise UnknownProviderError unless `provider` is a key of PROVIDERS or is in `others`."""
    if provider not in (*PROVIDERS, *others):
        raise UnknownProviderError(provider, (*PROVIDERS, *others))


def uses_graphs(session: Any) -> bool:
    """Return whether a session replays captured CUDA graphs.

    The inputs and outputs of such a session must be bound to fixed buffers in GPU memory.
    """
    options = session.get_provider_options().get(PROVIDERS["cuda"].name, {})
    return bool(options.get("enable_cuda_graph") == "1")


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("onnxruntime", "generating images", "cpu") from error
    return onnxruntime


def _create_session(
    ort: Any, model: Path | bytes, provider: str, threads: int, repeatable: bool, capture: bool
) -> Any:
    wanted = PROVIDERS[provider]
    device = _plugin_device(ort, wanted)
    chosen = dict(wanted.options)
    if repeatable and provider == "cuda":
        # Algorithms that cuDNN's search finds may add numbers in any order, so their results vary. The option
        # `use_deterministic_compute` of onnxruntime 1.31 does not prevent this.
        chosen["cudnn_conv_algo_search"] = "DEFAULT"
    if provider in ("cuda", "tensorrt"):
        # The provider warns about execution plans that it tries and does not use. It writes these warnings to
        # the log of the process. The session's log level does not apply there, so the level is set here, too.
        ort.set_default_logger_severity(_ONLY_FATAL)
    if provider == "openvino" and device is None:
        chosen["num_of_threads"] = str(threads)
    elif provider == "openvino":
        chosen = _openvino_plugin_options(threads)
    # A captured CUDA graph halves the time of a batch of one image. If an operation of the model does not run
    # on the GPU, capturing fails, and a second attempt opens the model without a captured graph.
    captured = {**chosen, "enable_cuda_graph": "1"}
    attempts = [captured, chosen] if provider == "cuda" and capture else [chosen]
    for number, settings in enumerate(attempts, 1):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ONLY_FATAL
        # The entry `session.load_model_format` tells onnxruntime which format the model has. Without the
        # entry, onnxruntime would look for the mark of its own format (.ort) in the model.
        options.add_session_config_entry(
            "session.load_model_format", "ORT" if is_ort_format(model) else "ONNX"
        )
        options.enable_mem_pattern = provider != "directml"  # DirectML does not support memory patterns
        if provider != "cpu":
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            return _start(ort, model, options, wanted.name, settings, device)
        except onnxruntime_errors() as error:
            if number < len(attempts) and "graph capture" in str(error):
                continue
            from .session_errors import explain  # not at the top: most sessions open

            explained = explain(str(error), ort.__version__)
            if explained is not None and (explained.is_final or provider == "cpu"):
                raise UnsupportedModelError(model, explained.problem, explained.remedy) from error
            if provider != "cpu":
                # `_try_provider` has shown that the provider works, so the reason lies in this model. The
                # model may need too much memory, or an operation that the provider does not support.
                problem = f"it can't run {model_name(model)} ({first_line(error)})"
                raise ProviderError(provider, problem, "choose `provider='cpu'`") from error
            raise ModelFormatError(model, first_line(error)) from error
    raise AssertionError("the last attempt returns or raises")


def _start(
    ort: Any, model: Path | bytes, options: Any, name: str, settings: dict[str, str], device: Any | None
) -> Any:
    """Return a session of the model on a provider.

    Args:
        ort: The module onnxruntime.
        model: An existing ONNX file, or its bytes.
        options: Options of the session.
        name: Name of the provider in onnxruntime.
        settings: Options of the provider.
        device: Device of the plugin that holds the provider; None for a provider that is built in.
    """
    # By default onnxruntime's fallback is enabled. After an error, the constructor and run() would then use
    # the CPU, and would only print the error.
    if device is None:
        return ort.InferenceSession(model, options, providers=[(name, settings)], enable_fallback=0)
    options.add_provider_for_devices([device], settings)
    return ort.InferenceSession(model, options, enable_fallback=0)


def _plugin_device(ort: Any, wanted: Provider) -> Any | None:
    """Return the device of the loaded plugin that holds a provider; None for a provider that is built in."""
    return None if wanted.plugin is None else find_device(ort, wanted.name, wanted.plugin)


def _openvino_plugin_options(threads: int) -> dict[str, str]:
    """Return the options of OpenVINO's plugin that set the number of threads and keep float32.

    The plugin ignores the option `precision` of the built-in provider.
    """
    import json

    cpu = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}
    return {"load_config": json.dumps({"CPU": cpu})}


def _placed_elsewhere(session: Any, name: str) -> list[str]:
    """Return the kinds of the operations that a session does not run on the provider of the given name."""
    if name == PROVIDERS["cpu"].name or not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    return [
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != name
        for node in part.get_nodes()
    ]


def _try_provider(ort: Any, provider: str) -> None:
    """Raise ProviderError, with onnxruntime's reason, unless a model of one node opens on a provider."""
    wanted = PROVIDERS[provider]
    if wanted.system not in ("", sys.platform):
        raise ProviderError(
            provider, f"it is for {wanted.system} only, this is {sys.platform}", "choose `provider='auto'`"
        )
    installed = installed_wheels()
    if len(installed) > 1:
        remedy = f"run: pip uninstall -y {' '.join(WHEELS)}; then {wanted.remedy}"
        raise ProviderError(
            provider, f"{' and '.join(installed)} are installed together and overwrite each other", remedy
        )
    _find_or_load(ort, provider, installed)
    device = _plugin_device(ort, wanted)
    settings = dict(wanted.options) if device is None else {}
    missing = _preload(ort) if provider in ("cuda", "tensorrt") else []
    with captured_stderr() as captured:
        try:
            session = _start(ort, ONE_NODE, ort.SessionOptions(), wanted.name, settings, device)
            started, reason = session.get_providers()[0], ""
        except onnxruntime_errors() as error:
            started, reason = "nothing", re.sub(_BEFORE_PLUGIN_REASON, "", first_line(error))
    if started != wanted.name:
        loader = re.search(_LOADER_REASON, captured.getvalue())
        problem = loader[1] if loader else reason or f"onnxruntime started {started} in its place"
        if missing:
            problem += f" (not found: {', '.join(missing)})"
        raise ProviderError(provider, problem, _remedy(provider, problem))
    if sys.stderr is not None:
        # The captured text may hold warnings of the provider, and lines that other threads have printed.
        sys.stderr.write(captured.getvalue())


def _find_or_load(ort: Any, provider: str, installed: list[str]) -> None:
    """Raise ProviderError unless onnxruntime has a provider, or loads a plugin that has it.

    Args:
        ort: The module onnxruntime.
        provider: A key of PROVIDERS.
        installed: Installed packages of onnxruntime with their versions.
    """
    wanted = PROVIDERS[provider]
    is_built_in = wanted.name in ort.get_available_providers() and _plugin_device(ort, wanted) is None
    if is_built_in:
        return
    if wanted.plugin is None:
        raise ProviderError(
            provider, f"this onnxruntime {ort.__version__} is built without it", wanted.remedy
        )
    ort.set_default_logger_severity(_ONLY_FATAL)  # plugins print warnings when they are loaded
    wheel = installed[0].split()[0] if installed else "onnxruntime"
    load(ort, provider, wanted.name, wanted.plugin, wheel, onnxruntime_errors())


def _preload(ort: Any) -> list[str]:
    """Load the libraries in NVIDIA's Python packages, and return the names of libraries that were not found.

    The system's loader does not search the folders of these packages.
    """
    if not hasattr(ort, "preload_dlls"):
        return []
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls(directory="")
    _preload_tensorrt()
    return re.findall(_NOT_PRELOADED, printed.getvalue())


def _preload_tensorrt() -> None:
    import sysconfig

    folder = Path(sysconfig.get_path("purelib"), "tensorrt_libs")
    for library in (*folder.glob("libnvinfer.so.*"), *folder.glob("libnvonnxparser.so.*")):
        with contextlib.suppress(OSError):  # `_try_provider` reports a library that does not load
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _remedy(provider: str, problem: str) -> str:
    wanted = PROVIDERS[provider]
    if wanted.plugin is not None and wanted.plugin.is_installed:
        return wanted.plugin.needs
    is_nvidia = provider in ("cuda", "tensorrt")
    if is_nvidia and ("libcuda." in problem or "driver" in problem or "device" in problem):
        return f"it needs an NVIDIA GPU and {driver_needed()}; check with: nvidia-smi"
    return wanted.remedy


def cuda_version() -> str:
    """Return the version of CUDA that the installed onnxruntime was built for, such as "13.0".

    The result is empty for a CPU build.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from onnxruntime.capi import build_and_package_info

        return str(build_and_package_info.cuda_version)
    return ""


def driver_needed() -> str:
    """Return a text that names the NVIDIA driver that onnxruntime's CUDA version needs."""
    major = cuda_version().partition(".")[0]
    series = {"12": "525", "13": "580"}.get(major)
    return f"a driver of series {series} or newer, for CUDA {major}" if series else "a recent driver"


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return the errors that onnxruntime raises when it opens or runs a session.

    These errors have no common base class.
    """
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


def run_error(model: Path | bytes, provider: str, error: Exception) -> ProviderError | InferenceError:
    """Return the error to raise if a session that was opened can't run.

    Args:
        model: An ONNX file, or its bytes.
        provider: Provider of the session.
        error: The error of onnxruntime.
    """
    reason = first_line(error)
    if _NO_FLOAT16 in reason:
        # The WebGPU plugin opens a session with such a model on any device, and compiles it when it runs.
        problem = f"{model_name(model)} computes in float16, which this device does not support"
        remedy = "export it again, in float32 or with: ganport export --precision float16"
        return ProviderError(provider, problem, remedy)
    from .session_errors import is_out_of_memory  # not at the top: most sessions run

    if is_out_of_memory(str(error)):
        problem = "there is not enough memory for a batch; a smaller `batch_size` takes less"
        return InferenceError(model, problem)
    return InferenceError(model, f"onnxruntime reports: {reason}")


def installed_wheels() -> list[str]:
    """Return the installed onnxruntime packages with their versions.

    If several are installed, the last one has overwritten files of the others.
    """
    from importlib import metadata  # not at the top: the import takes 25 ms, and is seldom needed

    found = []
    for wheel in WHEELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{wheel} {metadata.version(wheel)}")
    return found
