"""The programs that build the networks of the Keras kinds, and the kinds that they write.

Each framework has a program of its own, `benchmarks.keras_files`, because only one version of Keras can be in
a process, and because the reference images must not come from the process that exports.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.generators import Built, Kind, Pixels, Reference
from benchmarks.keras_environments import find_python, make_environment
from benchmarks.onnx_graphs import to_levels

Framework = Literal["Keras 3", "Keras 2, TensorFlow 2.15", "Keras 2, tf_keras"]
KERAS_3: Framework = "Keras 3"
TENSORFLOW_2_15: Framework = "Keras 2, TensorFlow 2.15"
TF_KERAS: Framework = "Keras 2, tf_keras"
PREFIXES: Mapping[Framework, str] = {KERAS_3: "Keras 3", TENSORFLOW_2_15: "TF 2.15", TF_KERAS: "tf_keras"}
ROOT = Path(__file__).resolve().parents[1]


class Program:
    """A running program `benchmarks.keras_files`, which builds networks in one framework."""

    def __init__(self, python: Path | str, variables: Mapping[str, str]) -> None:
        """Start the program.

        Args:
            python: Interpreter of the framework's environment.
            variables: Environment variables, in addition to those of this process.
        """
        usual = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.keras_files"],
            cwd=ROOT,
            env={**os.environ, **usual, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            RuntimeError: The program could not do what the request asks for, or it ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"error": "the program keras_files ended"}
        if "error" in found:
            raise RuntimeError(found["error"])
        return found


@functools.cache
def program_of(framework: Framework) -> Program:
    """Return the program of a framework. One process starts it once, and it ends with this process.

    Raises:
        ModuleNotFoundError: A package of the framework is not installed.
        NotMeasuredError: There is no environment with TensorFlow 2.15.
    """
    if framework == TENSORFLOW_2_15:
        return Program(find_python(), {})
    is_keras_2 = framework == TF_KERAS
    for package in ("tensorflow", *(["tf_keras"] if is_keras_2 else [])):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Program(sys.executable, {"TF_USE_LEGACY_KERAS": str(int(is_keras_2))})


@dataclasses.dataclass(frozen=True)
class Written:
    """How a framework writes a network.

    Attributes:
        framework: The framework.
        network: Name of a function of `keras_networks`, `keras_outputs` or `keras_inputs`.
        form: Key of `keras_files.FORMS`, which says how the network is written.
        arguments: Arguments of the function.
        span: Values of black and white.
        layout: Layout of the images that the framework generates.
        shape: Shape of these images, if it is not (height, width, channels).
    """

    framework: Framework
    network: str
    form: str
    arguments: Mapping[str, Any]
    span: tuple[float, float]
    layout: str
    shape: tuple[int, ...] | None

    def __call__(self, folder: Path) -> Built:
        """Write the network into a folder."""
        program = program_of(self.framework)
        request = {"make": self.network, "arguments": dict(self.arguments), "form": self.form}
        path = program.ask(**request, folder=str(folder))["path"]
        (folder / "reference").mkdir()
        return Built(Path(path), self._reference(program, folder / "reference"))

    def _reference(self, program: Program, folder: Path) -> Reference:
        """Return the function that generates images with the program. It writes arrays into a folder."""

        def generate(latents: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None) -> Pixels:
            np.save(folder / "latents.npy", latents)
            paths: dict[str, Any] = {"latents": str(folder / "latents.npy"), "labels": None}
            if labels is not None:
                np.save(folder / "labels.npy", labels)
                paths["labels"] = str(folder / "labels.npy")
            program.ask(generate=str(folder / "images.npy"), **paths)
            values = np.load(folder / "images.npy")
            if self.shape is not None:
                values = values.reshape(len(values), *self.shape)
            return to_levels(values, self.span, layout=self.layout)

        return generate


def kind(
    framework: Framework,
    name: str,
    network: str,
    form: str = "keras",
    options: Mapping[str, Any] | None = None,
    *,
    group: str = "",
    rejected: str | None = None,
    levels: int = 1,
    span: tuple[float, float] = (-1, 1),
    layout: str = "NHWC",
    shape: tuple[int, ...] | None = None,
    **arguments: Any,
) -> Kind:
    """Return a kind that a framework writes.

    Args:
        framework: The framework.
        name: Name of the kind. The framework is added if there is no `group`.
        network: Name of the network.
        form: How the network is written.
        options: Options of the kind.
        group: Group of the kind; by default the framework.
        rejected: Regular expression for the message of a kind that is not supported.
        levels: Largest accepted difference, in levels.
        span: Values of black and white.
        layout: Layout of the images that the framework generates.
        shape: Shape of these images, if it is not (height, width, channels).
        **arguments: Arguments of the network's function.
    """
    return Kind(
        group or framework,
        name if group else f"{PREFIXES[framework]}: {name}",
        Written(framework, network, form, arguments, span, layout, shape),
        options or {},
        rejected,
        steps=("export",),
        levels=levels,
        prepare=make_environment if framework == TENSORFLOW_2_15 else None,
    )
