"""The requested provider is the one that runs.

These tests run without a GPU. They check that CUDA fails with a reason, and does not fall back to the CPU.
"""

import os
import sys

import onnxruntime
import pytest

from ganport.runtime import Sampler
from ganport.runtime.errors import MissingPackageError, ProviderError, UnknownProviderError
from ganport.runtime.providers import open_session


def test_cpu_session_has_no_fallback(tiny_file):
    session = open_session(tiny_file, "cpu", threads=1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session._enable_fallback is False


@pytest.mark.parametrize("provider", ["tpu", "CPU", "CUDAExecutionProvider", ""])
def test_unknown_provider_is_a_usage_error(tiny_file, provider):
    with pytest.raises(
        UnknownProviderError,
        match="choose one of cpu, cuda, tensorrt, nvrtx, openvino, directml, coreml, webgpu, auto",
    ):
        Sampler(tiny_file, provider=provider)


def test_cuda_on_a_cpu_wheel_is_an_error_with_the_install_line(tiny_file):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ProviderError, match="is built without it") as caught:
        Sampler(tiny_file, provider="cuda")
    assert "pip install 'ganport[cuda]'" in str(caught.value)


def test_cuda_that_is_listed_and_does_not_load_is_an_error(tiny_file, monkeypatch, capfd):
    """If a library is missing, onnxruntime lists CUDA, but starts the session on the CPU."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with (
        pytest.warns(UserWarning, match="not in available"),
        pytest.raises(ProviderError, match="in its place"),
    ):
        Sampler(tiny_file, provider="cuda")
    assert capfd.readouterr() == ("", "")


def test_reason_of_the_loader_becomes_the_reason_of_the_error(tiny_file, monkeypatch, capfd):
    """The line below is what the real onnxruntime-gpu 1.31.1 prints if cuBLAS is missing."""
    missing = "libcublasLt.so.13: cannot open shared object file: No such file or directory"
    real = onnxruntime.InferenceSession

    def start_the_cpu_instead(model, *arguments, providers, **options):
        library = "libonnxruntime_providers_cuda.so"
        os.write(2, f"[E:onnxruntime] Failed to load library {library} with error: {missing}\n".encode())
        return real(model, *arguments, providers=["CPUExecutionProvider"], **options)

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", start_the_cpu_instead)
    with pytest.raises(ProviderError, match="libcublasLt") as caught:
        Sampler(tiny_file, provider="cuda")
    assert caught.value.problem == missing
    assert "pip install 'ganport[cuda]'" in caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_missing_onnxruntime_is_an_error_with_the_install_line(tiny_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'ganport\[cpu\]'"):
        Sampler(tiny_file)
