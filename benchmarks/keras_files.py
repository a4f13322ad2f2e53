"""A program that builds networks of Keras, writes them to files, and generates images with them.

    python -m benchmarks.keras_files      # it reads requests from stdin, and ends with it

It runs in the environment of the framework, apart from ganport: with TensorFlow 2.15, or with a newer version
and Keras 2 or 3. It needs TensorFlow only, and Python 3.9 or newer. `benchmarks.keras_programs` starts it.

A request is one line with a JSON object, and so is its answer. There are two requests:

- {"make": NETWORK, "arguments": {...}, "form": FORM, "folder": PATH} builds a network with random weights,
  and writes it. The answer is {"path": PATH}. The network stays in memory.
- {"generate": PATH, "latents": PATH, "labels": PATH or null} generates images with this network, and writes
  them as an .npy file to the first path, in float32. The latents are float32 (n, dim), and the labels are
  indices (n,). The answer is {}.

If a request fails, the answer is {"error": TEXT}, and the traceback is on stderr.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks import keras_inputs, keras_networks, keras_outputs
from benchmarks.keras_networks import IS_KERAS_3, Array, Model, Network

MODULES = (keras_networks, keras_outputs, keras_inputs)

# The code of `lambda x: tf.tanh(x)` in base64, as Python 3.8 writes it.
CODE_OF_PYTHON_3_8 = (
    "4wEAAAAAAAAAAAAAAAEAAAADAAAAQwAAAHMKAAAAdACgAXwAoQFTAKkBTikC2gJ0ZtoEdGFuaKkB2gF0qQByBgAAAPoHPHN0ZGlu"
    "PtoIPGxhbWJkYT4FAAAA8wAAAAA="
)

# Networks


def build(name: str, arguments: Mapping[str, Any]) -> Network:
    """Return a network with random weights, biases, scales and statistics.

    Args:
        name: Name of a function in one of MODULES.
        arguments: Arguments of the function. Lists become tuples.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(5)
    function = next(getattr(module, name) for module in MODULES if hasattr(module, name))
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    made = function(**given)
    network = made if isinstance(made, Network) else Network(made)
    if isinstance(network.model, keras.Model):
        shake(network.model)
    return network


def shake(model: Model) -> None:
    """Set the biases, scales, statistics and embeddings of a model to random values, as training would."""
    rng = np.random.default_rng(5)
    values = []
    for weight in model.weights:
        name = getattr(weight, "path", weight.name).rsplit("/", 1)[-1]
        value = np.asarray(weight)
        if name.startswith(("gamma", "moving_variance")):
            value = rng.uniform(0.5, 2.0, value.shape)
        elif name.startswith(("beta", "moving_mean", "bias")):
            value = 0.1 * rng.standard_normal(value.shape)
        elif name.startswith("embeddings"):
            value = rng.standard_normal(value.shape)
        values.append(value)
    model.set_weights(values)


def generate(network: Network, latents: Array, labels: Any) -> Array:
    """Return images of a network as float32, in its own shape."""
    if network.call is not None:
        images = network.call(latents, labels)
    else:
        # A subclass of Model has no shape of its inputs.
        shape = getattr(network.model, "input_shape", latents.shape)
        images = network.model(latents.reshape(len(latents), *shape[1:]), training=False)
    return np.asarray(images).astype(np.float32)


# Files


def saved_as(name: str) -> Callable[[Model, Path], Path]:
    """Return the function that saves a model under a name, whose ending decides the format."""

    def save(model: Model, folder: Path) -> Path:
        model.save(folder / name)
        return folder / name

    return save


def save_unpacked(model: Model, folder: Path) -> Path:
    """Write the content of a .keras file as a folder, as downloads of it may be."""
    packed = saved_as("packed.keras")(model, folder)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder / "generator")
    packed.unlink()
    return folder / "generator"


def save_by_keras(model: Model, folder: Path) -> Path:
    """Write a SavedModel in the way of the version of Keras."""
    (model.export if IS_KERAS_3 else model.save)(str(folder / "generator"))
    return folder / "generator"


def save_by_tensorflow(model: Model, folder: Path) -> Path:
    tf.saved_model.save(model, str(folder / "generator"))
    return folder / "generator"


def save_weights(model: Model, folder: Path) -> Path:
    """Write only the weights, under the name that is usual for the version of Keras."""
    path = folder / ("generator.weights.h5" if IS_KERAS_3 else "generator_weights.h5")
    model.save_weights(path)
    return path


def save_weights_and_json(model: Model, folder: Path) -> Path:
    """Write the weights, and beside them the architecture as a JSON text."""
    (folder / "generator.json").write_text(model.to_json())
    return save_weights(model, folder)


def save_json_and_weights(model: Model, folder: Path) -> Path:
    save_weights_and_json(model, folder)
    return folder / "generator.json"


def save_checkpoint(model: Model, folder: Path) -> Path:
    """Write a checkpoint as TensorFlow's tutorials do, with a discriminator and two optimizers."""
    optimizers = {f"{name}_optimizer": keras.optimizers.Adam(1e-4) for name in ("generator", "discriminator")}
    critic = keras_networks.discriminator()
    checkpoint = tf.train.Checkpoint(generator=model, discriminator=critic, **optimizers)
    checkpoint.save(str(folder / "training_checkpoints" / "ckpt"))
    return folder / "training_checkpoints"


def save_checkpoint_prefix(model: Model, folder: Path) -> Path:
    return save_checkpoint(model, folder) / "ckpt-1"


def save_weights_by_tensorflow(model: Model, folder: Path) -> Path:
    """Write the weights in TensorFlow's format, which Keras 2 uses if a name has no ending."""
    model.save_weights(folder / "weights" / "generator")
    return folder / "weights" / "generator"


def save_for_tflite(model: Model, folder: Path) -> Path:
    path = folder / "generator.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


def save_frozen_graph(model: Model, folder: Path) -> Path:
    """Write the graph with its weights as constants, as programs for TensorFlow 1 need it."""
    path = folder / "generator.pb"
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs]
    function = tf.function(lambda *tensors: model(*tensors)).get_concrete_function(*signature)
    path.write_bytes(convert_variables_to_constants_v2(function).graph.as_graph_def().SerializeToString())
    return path


def save_pickle(model: Model, folder: Path) -> Path:
    path = folder / "generator.pkl"
    path.write_bytes(pickle.dumps(model))
    return path


def save_with_code_of_python_3_8(model: Model, folder: Path) -> Path:
    """Write an .h5 file whose Lambda layers have the code of another version of Python."""
    path = saved_as("generator.h5")(model, folder)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            function = layer["config"].get("function")
            if isinstance(function, list):
                function[0] = CODE_OF_PYTHON_3_8
            elif function:
                function["config"]["code"] = CODE_OF_PYTHON_3_8
        file.attrs["model_config"] = json.dumps(config)
    return path


FORMS: Mapping[str, Callable[[Model, Path], Path]] = {
    "keras": saved_as("generator.keras"),
    "h5": saved_as("generator.h5"),
    "hdf5": saved_as("generator.hdf5"),
    "unpacked": save_unpacked,
    "saved by Keras": save_by_keras,
    "saved by TensorFlow": save_by_tensorflow,
    "weights": save_weights,
    "weights, JSON": save_weights_and_json,
    "JSON, weights": save_json_and_weights,
    "checkpoint": save_checkpoint,
    "checkpoint prefix": save_checkpoint_prefix,
    "weights of TensorFlow": save_weights_by_tensorflow,
    "tflite": save_for_tflite,
    "frozen graph": save_frozen_graph,
    "pickle": save_pickle,
    "h5 of Python 3.8": save_with_code_of_python_3_8,
}


def write(network: Network, form: str, folder: Path) -> Path:
    """Write a network into a folder, and return the path of the file, of the folder, or of a prefix."""
    if network.write is not None:
        network.write(folder / "generator")
        return folder / "generator"
    return FORMS[form](network.model, folder)


# The program


def answer(request: Mapping[str, Any], networks: list[Network]) -> dict[str, Any]:
    """Return the answer to a request.

    Args:
        request: The request.
        networks: The network in memory, or an empty list. A request to make a network exchanges it.
    """
    if "make" in request:
        networks[:] = [build(request["make"], request["arguments"])]
        return {"path": str(write(networks[0], request["form"], Path(request["folder"])))}
    labels = np.load(request["labels"]) if request["labels"] else None
    np.save(request["generate"], generate(networks[0], np.load(request["latents"]), labels))
    return {}


def main() -> None:
    """Answer the requests on stdin until it ends. What frameworks print goes to stderr."""
    networks: list[Network] = []
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            try:
                found = answer(json.loads(line), networks)
            except Exception as error:  # networks and frameworks may raise anything
                traceback.print_exc()
                found = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
