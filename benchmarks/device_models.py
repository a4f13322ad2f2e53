"""The model files of the matrix, and their other forms.

The pretrained generators are files of `runtime/models`. The six third-party generators are built with random
weights, and exported in float32. An engine that needs another form, such as C source, gets it from `ganport
export`: of the Keras file, or of the pretrained file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.device_packages import EXPORT_S, ROOT, devices_folder, ganport, run_quietly
from benchmarks.device_results import Case
from ganport.runtime import PRETRAINED

# The third-party generators, and the values of black and white in the images of their Keras models.
THIRD_PARTY: Mapping[str, tuple[float, float]] = {
    "dense": (0, 1),
    "dcgan": (-1, 1),
    "upsampling": (-1, 1),
    "pixel-shuffle": (-1, 1),
    "self-attention": (-1, 1),
    "residual": (-1, 1),
}


def pretrained_models() -> dict[str, Path]:
    """Return the paths of the pretrained generators by their names."""
    return {path.stem: path for path in sorted(set(PRETRAINED.values()))}


def third_party_model(name: str, folder: Path) -> Path:
    """Build a third-party generator, export it into a folder, and return the path of the .onnx file.

    The Keras file is kept in the cache, because building it starts TensorFlow.
    """
    keras_file = _keras_file(name)
    if not keras_file.is_file():
        keras_file.parent.mkdir(parents=True, exist_ok=True)
        write_third_party(name, keras_file)
    return _export_keras_file(keras_file, folder / f"{name}.onnx")


def write_third_party(name: str, path: Path) -> None:
    """Build a third-party generator in another process, and write it as a .keras or .tflite file."""
    command = [sys.executable, "-m", "benchmarks.device_models", name, path]
    run_quietly(command, limit_s=EXPORT_S, cwd=ROOT, name="TensorFlow")


def _keras_file(name: str) -> Path:
    return devices_folder() / "third-party" / f"{name}.keras"


def _export_keras_file(keras_file: Path, path: Path, *options: str | Path) -> Path:
    code = ROOT / "benchmarks" / "third_party_generators.py"
    return export_file(keras_file, path, "--trust", "--custom-objects", code, *options)


def export_form(case: Case, path: Path, *options: str | Path) -> Path:
    """Export a generator in another form, and return the path of the new file.

    Args:
        case: The generator's file.
        path: Path of the new file.
        options: Options of `ganport export`.
    """
    keras_file = _keras_file(case.path.stem)
    if case.path.stem in THIRD_PARTY:
        return _export_keras_file(keras_file, path, *options)
    return export_file(case.path, path, *options)


def export_file(source: Path, path: Path, *options: str | Path) -> Path:
    """Run `ganport export`, and return the path of the new file.

    Raises:
        NotAvailableError: The export failed. The reason is its error message.
    """
    ganport("export", source, "--out", path, "--overwrite", *options, limit_s=EXPORT_S)
    return path


def main() -> None:
    """Write one third-party generator as a file. This needs TensorFlow."""
    parser = argparse.ArgumentParser(description="Write a third-party generator as a file.")
    parser.add_argument("name", choices=THIRD_PARTY)
    parser.add_argument("path", type=Path, help="file that ends in .keras or .tflite")
    arguments = parser.parse_args()
    from benchmarks.third_party_generators import build

    if arguments.path.suffix == ".tflite":
        arguments.path.write_bytes(_convert_to_litert(build(arguments.name)))
    else:
        build(arguments.name).save(arguments.path)


def _convert_to_litert(generator: Any) -> bytes:
    """Return a Keras model as the content of a .tflite file.

    The SavedModel in between turns the variables into constants. The conversion of a Keras model or function
    without it succeeds as well, but LiteRT then returns NaN.
    """
    import keras
    import tensorflow as tf

    one_image = keras.InputSpec(shape=(1, *generator.input_shape[1:]), dtype="float32", name="latent")
    with tempfile.TemporaryDirectory() as temporary:
        generator.export(temporary, verbose=False, input_signature=[one_image])
        return tf.lite.TFLiteConverter.from_saved_model(temporary).convert()


if __name__ == "__main__":
    main()
