"""Train the small classifiers that `evaluate` uses, and write the classifiers and the references.

    python -m scripts.train_classifiers mnist --data-dir DATA
    python -m scripts.train_classifiers mnist --data-dir DATA --keep    # only write the reference

DATA holds the public data sets: mnist/ and fashion-mnist/ with the four IDX files each, and
rock-paper-scissors/ with train/ and test/, which have a folder per label. A classifier is trained on the
training split. Its accuracy on the test split is written to its metadata.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keras import layers

from ganport.datasets.folder import open_folder
from ganport.datasets.named import LABELS
from ganport.evaluation.features import MODELS, SET_NETWORKS, FeatureNetwork, prepare_images
from ganport.evaluation.references import SMALL_SIDE, write_reference

FEATURES = 64
DROPOUT = {"mnist": 0.4, "fashion-mnist": 0.25, "rock-paper-scissors": 0.4}
EPOCHS = {"mnist": 10, "fashion-mnist": 14, "rock-paper-scissors": 25}
SEED = 0


def build(
    shape: tuple[int, int, int], label_count: int, widths: tuple[int, ...], dropout: float
) -> keras.Model:
    """Return a convolutional network with images in [-1, 1] as input, and features and logits as outputs."""
    image = keras.Input(shape, name="image")
    hidden = image
    for width in widths:
        hidden = layers.Conv2D(width, 3, padding="same", use_bias=False)(hidden)
        hidden = layers.BatchNormalization()(hidden)
        hidden = layers.MaxPooling2D(padding="same")(layers.ReLU()(hidden))
    hidden = layers.Dropout(dropout)(layers.Flatten()(hidden))
    features = layers.Dense(FEATURES, name="features")(hidden)
    logits = layers.Dense(label_count, name="logits")(layers.Dropout(dropout)(layers.ReLU()(features)))
    return keras.Model(image, [features, logits])


def augment(name: str) -> keras.Sequential:
    """Return the augmentation layers of a data set. They keep the label: digits, say, are not mirrored."""
    steps = {
        "mnist": [
            layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=-1.0),
            layers.RandomRotation(0.03),
        ],
        "fashion-mnist": [layers.RandomFlip("horizontal")],
        "rock-paper-scissors": [
            layers.RandomFlip("horizontal_and_vertical"),
            layers.RandomTranslation(0.15, 0.15, fill_mode="constant", fill_value=1.0),
            layers.RandomRotation(0.12, fill_mode="constant", fill_value=1.0),
            layers.RandomZoom((-0.25, 0.25), fill_mode="constant", fill_value=1.0),
            layers.RandomBrightness(0.25, value_range=(-1, 1)),
            layers.RandomContrast(0.3, value_range=(-1, 1)),
        ],
    }
    return keras.Sequential(steps[name])


def load(name: str, data_dir: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 (n, height, width, channels), and the labels, int32 (n,), of a split."""
    if name == "rock-paper-scissors":
        folder = data_dir / name / split
        images, labels = [], []
        for index, label in enumerate(LABELS[name]):
            images.append(open_folder(folder / label).take_all())
            labels += [index] * len(images[-1])
        return np.concatenate(images), np.array(labels, np.int32)
    stem = {"train": "train", "test": "t10k"}[split]
    pixels = gzip.decompress((data_dir / name / f"{stem}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((data_dir / name / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return images, np.frombuffer(labels, np.uint8, offset=8).astype(np.int32)


def fit(name: str, images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    """Return a network that is trained on the images."""
    keras.utils.set_random_seed(SEED)
    widths = (16, 32, 48, 64, 64) if images.shape[1] > 32 else (24, 48, 64)
    model = build(images.shape[1:], int(labels.max()) + 1, widths, DROPOUT[name])
    scaled = images.astype(np.float32) / 127.5 - 1
    steps = augment(name)
    data = (
        tf.data.Dataset.from_tensor_slices((scaled, labels))
        .shuffle(len(images), seed=SEED)
        .batch(128, drop_remainder=True)
        .map(lambda image, label: (steps(image, training=True), label), num_parallel_calls=1)
        .prefetch(2)
    )
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * (len(images) // 128))
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=[None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)],
        jit_compile=False,  # XLA makes convolutions on a CPU many times slower
    )
    model.fit(
        data.map(lambda image, label: (image, (tf.zeros((128, FEATURES)), label))), epochs=epochs, verbose=2
    )
    return model


def export(model: keras.Model, path: Path, scale: float, facts: Mapping[str, object]) -> None:
    """Write the network as an ONNX file.

    Its input is "image", uint8 (n, height, width, channels). Its outputs are "features" and "probabilities".

    Args:
        model: Trained network.
        path: Path of the file.
        scale: Factor by which the features are multiplied.
        facts: Metadata of the file.
    """

    def classify(image):
        features, logits = model(tf.cast(image, tf.float32) / 127.5 - 1, training=False)
        return {"features": scale * features, "probabilities": tf.nn.softmax(logits)}

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="image")]
    proto, _ = tf2onnx.convert.from_function(tf.function(classify), input_signature=signature, opset=18)
    onnx.helper.set_model_props(proto, {"ganport-classifier": json.dumps(facts)})
    path.write_bytes(proto.SerializeToString())


def main() -> None:
    """Train and write one classifier, or keep the existing one; then write the reference of its features."""
    parser = argparse.ArgumentParser(description="Train a classifier whose features `evaluate` uses.")
    parser.add_argument("name", choices=sorted(LABELS))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--keep", action="store_true", help="keep the existing classifier")
    arguments = parser.parse_args()
    name = arguments.name
    splits = {}
    for split in ("train", "test"):
        splits[split] = load(name, arguments.data_dir, split)
    if not arguments.keep:
        prepared = {
            split: (prepare_images(name, images), labels) for split, (images, labels) in splits.items()
        }
        train(name, prepared, arguments.epochs or EPOCHS[name])
    for side in (None,) if name in SET_NETWORKS else (None, SMALL_SIDE):
        reference = write_reference(name, train=splits["train"], test=splits["test"], side=side)
        print(f"{reference}: {reference.stat().st_size:,} bytes")


def train(name: str, splits: Mapping[str, tuple[np.ndarray, np.ndarray]], epochs: int) -> None:
    """Train a classifier, and write it with its accuracy on the test split."""
    model = fit(name, *splits["train"], epochs)
    images, labels = splits["test"]
    _, logits = model.predict(images.astype(np.float32) / 127.5 - 1, verbose=0, batch_size=256)
    accuracy = float((logits.argmax(1) == labels).mean())
    facts = {"data": name, "labels": LABELS[name], "trained_on": "train", "test_accuracy": round(accuracy, 4)}
    path = MODELS / f"{name}.onnx"
    path.parent.mkdir(exist_ok=True)
    # All features are scaled by one factor that makes their mean variance over the training split 1.
    # Distances then have a readable size.
    features, _ = model.predict(splits["train"][0].astype(np.float32) / 127.5 - 1, verbose=0, batch_size=256)
    export(model, path, float(1 / np.sqrt(features.var(axis=0).mean())), facts)
    onnx_accuracy = float((FeatureNetwork(name).extract(images)[1].argmax(1) == labels).mean())
    print(f"{path}: {path.stat().st_size:,} bytes, test accuracy {accuracy:.4f}, as ONNX {onnx_accuracy:.4f}")


if __name__ == "__main__":
    main()
