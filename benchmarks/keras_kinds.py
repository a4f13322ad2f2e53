"""Kinds of Keras and TensorFlow generators. They are exported, and the export is sampled."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.generators import Kind
from benchmarks.keras_programs import KERAS_3, TENSORFLOW_2_15, TF_KERAS, Framework, kind

MODULES_OF_TENSORFLOW = "TensorFlow without Keras"

# Lambda layers need the version of Python that saved them, and TensorFlow 2.15 needs Python 3.11 or older.
IS_OLD_PYTHON = sys.version_info[:2] <= (3, 11)

# Options
OWN_CODE = Path(__file__).with_name("keras_own_code.py")
TANH = {"value_range": "tanh"}
CLIPPED = {"value_range": "tanh", "clip": True}
TRUST = {"trust": True}
OWN = {"trust": True, "custom_objects": OWN_CODE}
NETWORK = {"network": OWN_CODE}
TEN = {"labels": 10}
NAMES = {"labels": [f"class {index}" for index in range(10)]}
PSI = {"input_values": {"psi": 0.7}}
TRUNCATED = {"labels": 10, "input_values": {"truncation": 0.7}}

# Values of black and white
ZERO_TO_ONE = (0.0, 1.0)
BYTES = (0.0, 255.0)

# Parts of error messages
HOLDS_CODE = "holds a Lambda layer, which is code .* use `trust=True`"
NO_RANGE = "does not decide the range .* give `value_range`"
NO_NETWORK = "holds only weights, and not the network"
TAKES_IMAGES = "takes images, not latents; a network from images to images is not supported"
NEIGHBOURS = "an image depends on the other images in its batch"
RANDOM = "an image would not depend on its seed alone"
OLD_CODE = "holds code of another version of Python"


def unknown(name: str) -> str:
    """Return the regular expression for the message about a class or function of the user."""
    return f"uses {name}, which is not part of Keras; give the Python file .* call model.export"


def inside(name: str) -> str:
    """Return the regular expression for the message about a generator inside of another model."""
    return f"returns no images, but a model inside of it does: .*{name} .* use `layer='{name}'`"


Row = tuple[str, str, Mapping[str, Any]]


def kinds(framework: Framework, rows: Iterable[Row], **common: Any) -> list[Kind]:
    """Return kinds of a framework.

    Args:
        framework: The framework.
        rows: Name of the kind, name of its network, and further arguments of `kind`, for each kind.
        **common: Arguments of `kind` that all kinds have, unless a row has another value.
    """
    return [kind(framework, name, network, **{**common, **further}) for name, network, further in rows]


def as_form(form: str, **options: Any) -> dict[str, Any]:
    """Return the arguments of `kind` for a form, and for options."""
    return {"form": form, "options": options}


def ends(*names: str, **further: Any) -> list[Row]:
    """Return rows of generators that end in some of `keras_outputs.ENDS`."""
    return [(name, "ending", {"end": name, **further}) for name in names]


def middles(*names: str) -> list[Row]:
    """Return rows of generators that have some of `keras_networks.LAYERS`."""
    return [(name, "layered", {"kind": name}) for name in names]


# Rows that several frameworks share

FILES: list[Row] = [
    ("DCGAN, .keras", "dcgan", as_form("keras")),
    ("DCGAN, .h5", "dcgan", as_form("h5")),
    ("DCGAN, SavedModel of Keras", "dcgan", as_form("saved by Keras")),
    ("DCGAN, SavedModel of tf.saved_model.save", "dcgan", as_form("saved by TensorFlow")),
    ("DCGAN, weights and a network in Python", "dcgan", as_form("weights", **NETWORK)),
    ("DCGAN, weights beside a JSON file", "dcgan", as_form("weights, JSON")),
    ("DCGAN, tf.train.Checkpoint and a network in Python", "dcgan", as_form("checkpoint", **NETWORK)),
]
MORE_FILES: list[Row] = [
    ("DCGAN, .hdf5", "dcgan", as_form("hdf5")),
    ("DCGAN, content of a .keras file as a folder", "dcgan", as_form("unpacked")),
    ("DCGAN, JSON file beside weights", "dcgan", as_form("JSON, weights")),
    ("DCGAN, prefix of a checkpoint", "dcgan", as_form("checkpoint prefix", **NETWORK)),
    ("DCGAN, after a step of training, .h5", "trained", as_form("h5")),
    ("weights alone", "dcgan", {"form": "weights", "rejected": NO_NETWORK}),
    ("tf.train.Checkpoint alone", "dcgan", {"form": "checkpoint", "rejected": NO_NETWORK}),
    ("TensorFlow Lite", "dcgan", {"form": "tflite", "rejected": "is a TensorFlow Lite model"}),
    ("frozen graph", "dcgan", {"form": "frozen graph", "rejected": "is a frozen graph of TensorFlow"}),
    ("pickle", "dcgan", {"form": "pickle", "rejected": "is a Python pickle"}),
]
LABELS: list[Row] = [
    ("label (n, 1), embedding multiplied", "embedding_multiplied", {}),
    ("label (n, 1) of floats, embedding as a plane", "embedding_as_plane", {}),
    ("label (n,), embedding concatenated", "label_vector", {}),
    ("label, one_hot in the model", "one_hot_inside", {}),
    ("one-hot code as an input", "code_input", {"options": TEN}),
    ("one-hot code behind the latents", "code_behind_latents", {"options": TEN, "span": ZERO_TO_ONE}),
    ("InfoGAN, three inputs", "info_gan_inputs", {"options": TEN}),
]
LAMBDAS: list[Row] = [
    ("Lambda, without trust", "lambdas", {"kind": "tf", "options": {}, "rejected": HOLDS_CODE}),
    ("Lambda with tf", "lambdas", {"kind": "tf"}),
    ("Lambda with K", "lambdas", {"kind": "K", "span": ZERO_TO_ONE}),
    ("Lambda with a closure", "lambdas", {"kind": "closure"}),
    ("Lambda with a default", "lambdas", {"kind": "default", "span": ZERO_TO_ONE}),
    ("Lambda with arguments", "lambdas", {"kind": "arguments"}),
    ("Lambda with depth_to_space", "lambdas", {"kind": "depth_to_space"}),
    ("Lambda with an own function", "lambdas", {"kind": "own function", "options": OWN}),
    ("Lambda with an own name", "lambdas", {"kind": "own name", "options": OWN}),
    ("Lambda with random noise", "lambdas", {"kind": "noise", "rejected": RANDOM}),
    (
        "Lambda of another Python",
        "lambdas",
        {"kind": "tf", "form": "h5 of Python 3.8", "rejected": OLD_CODE},
    ),
]
LAMBDAS_OF_KERAS_2: list[Row] = [
    *LAMBDAS,
    ("Lambda with tf, .keras", "lambdas", {"kind": "tf", "form": "keras"}),
]
OWN_LAYERS: list[Row] = [
    ("own layers, without custom_objects", "style_gan", {"rejected": unknown("\\w+")}),
    ("own layers", "style_gan", {"options": OWN}),
    ("own layers, SavedModel of Keras", "style_gan", {"form": "saved by Keras"}),
    ("registered layer", "with_own", {"layer": "PixelShuffle", "options": OWN}),
    (
        "registered layer, without custom_objects",
        "with_own",
        {"layer": "PixelShuffle", "rejected": unknown("PixelShuffle")},
    ),
    ("InstanceNormalization of Addons", "with_own", {"layer": "InstanceNormalization", "options": OWN}),
    (
        "own activation",
        "own_activation",
        {"options": OWN | {"value_range": (-0.5, 0.5)}, "span": (-0.5, 0.5)},
    ),
]
GANS: list[Row] = [
    ("generator and discriminator in a row", "whole_gan", {"rejected": inside("generator")}),
    ("generator and discriminator in a row, layer", "whole_gan", {"options": {"layer": "generator"}}),
    (
        "generator and discriminator as one graph",
        "whole_gan",
        {"kind": "functional", "rejected": inside("conv2d_transpose_2")},
    ),
    (
        "generator and discriminator as one graph, layer",
        "whole_gan",
        {"kind": "functional", "options": {"layer": "conv2d_transpose_2"}},
    ),
]
FAULTS: list[Row] = [
    (
        "minibatch deviation",
        "with_own",
        {"layer": "MinibatchDeviation", "options": OWN, "rejected": NEIGHBOURS},
    ),
    ("random noise", "with_own", {"layer": "RandomNoise", "options": OWN, "rejected": RANDOM}),
    ("images to images", "image_to_image", {"rejected": TAKES_IMAGES}),
    ("discriminator", "discriminator", {"rejected": TAKES_IMAGES}),
    ("voxels", "volumes", {"rejected": r"each image has shape .*; expected \(height, width"}),
]

# Kinds by frameworks

WITH_KERAS_3 = [
    *kinds(KERAS_3, [*FILES, *MORE_FILES]),
    *kinds(
        KERAS_3,
        [
            ("uniform latents", "dcgan", {"options": {"latents": "uniform"}}),
            ("Sequential in a functional model, .h5", "dcgan_in_model", {"form": "h5"}),
            ("WGAN-GP of keras.io", "wgan_gp", {}),
            ("decoder of a VAE", "decoder", {"span": ZERO_TO_ONE}),
            ("self-attention", "attention", {}),
            ("transformer", "transformer", {}),
            ("LSTM", "recurrent", {"layer": "LSTM"}),
            ("Conv1D", "recurrent", {"layer": "Conv1D"}),
            ("quantised by model.quantize('int8')", "quantised", {"levels": 3}),
            ("features modulated by maps (SPADE)", "modulated", {}),
            ("functions of keras.ops", "keras_ops", {"span": ZERO_TO_ONE}),
            *middles(
                "bilinear upsampling",
                "group normalization",
                "layer normalization",
                "RMS normalization",
                "synchronized batch normalization",
                "PReLU",
                "mish and hard swish",
                "GELU",
                "softplus and exponential",
                "separable convolution",
                "grouped convolution",
                "spectral normalization",
                "activation=tf.nn.relu",
                "activation=tf.nn.leaky_relu",
                "activation=LeakyReLU()",
                "initializer of TensorFlow",
            ),
        ],
    ),
    *kinds(
        KERAS_3,
        [
            *LABELS,
            ("label, CategoryEncoding", "category_encoding", {}),
            ("label by name", "label_vector", {"options": NAMES}),
            ("one-hot code as an input, without options", "code_input", {"rejected": "give `labels=10`"}),
            ("InfoGAN, one input", "info_gan", {"options": {"labels": 10, "labels_at": 62}}),
            ("label as a text", "text_label", {"rejected": "type that is not supported"}),
            ("two inputs of latents", "two_latents", {}),
            ("truncation as an input", "truncated", {"options": PSI}),
            (
                "truncation as an input, without options",
                "truncated",
                {"rejected": "takes one number for all images; give its value"},
            ),
            ("noise maps as latents", "noise_maps", {"random": True}),
            (
                "noise maps as constants",
                "noise_maps",
                {"random": False, "options": {"input_values": {"noise_4": 0.0, "noise_8": 0.0}}},
            ),
            ("strength of noise", "noise_strength", {"options": {"input_values": {"noise_strength": 0.5}}}),
            ("latents (1, 1, 100)", "of_shape", {"latents": [1, 1, 100]}),
            ("latents (4, 4, 8)", "convolutional", {"side": 4}),
            (
                "latents of any size",
                "convolutional",
                {"side": None, "rejected": "does not state how many latents it takes"},
            ),
        ],
    ),
    *kinds(
        KERAS_3,
        [
            *ends("sigmoid", "tanh, to [0, 1]", "sigmoid, padded", span=ZERO_TO_ONE),
            *ends("hard sigmoid", "ReLU up to 1", span=ZERO_TO_ONE),
            *ends("sigmoid, times 255", "tanh, to [0, 255]", span=BYTES),
            *ends("tanh, noise", "tanh, upsampled bicubically", "tanh, average-pooled", "softsign"),
            *ends("spectral normalization of tanh"),
            ("linear, value_range", "ending", {"end": "linear", "options": TANH}),
            ("linear, clipped", "ending", {"end": "wide linear", "options": CLIPPED}),
            (
                "linear, outside of its value_range",
                "ending",
                {"end": "wide linear", "options": TANH, "rejected": "clip such values with `clip=True`"},
            ),
            ("linear, without options", "ending", {"end": "linear", "rejected": NO_RANGE}),
            ("normalized after tanh", "ending", {"end": "tanh, normalized", "rejected": NO_RANGE}),
            ("rows (n, 784)", "rows", {"pixels": 784, "shape": (28, 28, 1)}),
            (
                "rows of 48x64x3, image_size",
                "rows",
                {"pixels": 9216, "shape": (48, 64, 3), "options": {"image_size": (48, 64, 3)}},
            ),
            (
                "rows of 32x32x3, without options",
                "rows",
                {"pixels": 3072, "rejected": "rows of 3072 values; give `image_size`"},
            ),
            ("images (n, 28, 28)", "selu_rows", {"shape": (28, 28, 1), "span": ZERO_TO_ONE}),
            ("channels first", "channels_first", {"permuted": False, "layout": "NCHW"}),
            ("channels first, then last", "channels_first", {"permuted": True}),
            ("channels last, then first", "ending", {"end": "channels first, by Permute", "layout": "NCHW"}),
            ("256x256x3", "large", {}),
            ("RGBA", "of_shape", {"latents": [64], "channels": 4}),
            (
                "two channels",
                "of_shape",
                {"latents": [64], "channels": 2, "rejected": "expected 1, 3 or 4 channels"},
            ),
            ("batch fixed at 16", "fixed_batch", {}),
            ("two outputs", "two_outputs", {"options": {"output_name": "large"}}),
            ("two outputs, without options", "two_outputs", {"rejected": "choose the images' with"}),
            ("dict of outputs", "two_outputs", {"as_dict": True}),
            *ends("float16", levels=3),
            *ends("float64"),
            (
                "mixed_float16, float32 at the end",
                "precise",
                {"policy": "mixed_float16", "last": "float32", "levels": 3},
            ),
            ("mixed_float16", "precise", {"policy": "mixed_float16", "levels": 3}),
            ("mixed_bfloat16", "precise", {"policy": "mixed_bfloat16"}),
            ("all in float64", "precise", {"policy": "float64"}),
        ],
    ),
    *kinds(KERAS_3, LAMBDAS, options=TRUST),
    *kinds(
        KERAS_3,
        [
            *OWN_LAYERS,
            ("subclass of Model", "own_model", {"options": OWN}),
            ("subclass of Model, SavedModel of Keras", "own_model", {"form": "saved by Keras"}),
            *GANS,
            (
                "GAN as a subclass of Model, layer",
                "whole_gan",
                {"kind": "subclass", "options": OWN | {"layer": "generator"}},
            ),
            ("BatchNormalization called with training=True", "statistics_of_the_batch", {}),
            *FAULTS,
            ("network of a diffusion model", "denoiser", {"rejected": TAKES_IMAGES}),
            ("whole VAE", "autoencoder", {"options": OWN, "rejected": RANDOM}),
        ],
    ),
]

WITH_TENSORFLOW_2_15 = [
    *kinds(TENSORFLOW_2_15, [*FILES, *MORE_FILES]),
    *kinds(
        TENSORFLOW_2_15,
        [
            (
                "DCGAN, weights of save_weights without an ending",
                "dcgan",
                as_form("weights of TensorFlow", **NETWORK),
            ),
            ("published, dense layers in a functional model", "dense_in_model", {}),
            ("published, dense layers and tf.reshape", "dense_with_tf_reshape", {}),
            ("published, rows and a legacy optimizer", "flat_compiled", {"shape": (28, 28, 1)}),
            ("published, one hidden layer", "minimal", {}),
            ("published, Rock-Paper-Scissors", "rock_paper_scissors", {}),
            ("published, dense layers and tf.reshape, .keras", "dense_with_tf_reshape", {"form": "keras"}),
            (
                "published, rows, SavedModel",
                "flat_compiled",
                {"form": "saved by Keras", "shape": (28, 28, 1)},
            ),
            ("Sequential in a functional model", "dcgan_in_model", {}),
            ("operations of TensorFlow", "tensorflow_operations", {"span": ZERO_TO_ONE}),
            (
                "operations of TensorFlow, .keras",
                "tensorflow_operations",
                {"span": ZERO_TO_ONE, "form": "keras"},
            ),
            ("GRU", "recurrent", {"layer": "GRU"}),
            *middles(
                "nearest upsampling",
                "bicubic upsampling",
                "unit normalization",
                "ELU",
                "swish",
                "thresholded and capped ReLU",
                "depthwise convolution",
                "dilated convolution",
                "valid transposed convolution",
                "spectral normalization",
                "activation=tf.nn.relu",
                "activation=tf.nn.leaky_relu",
                "initializer of TensorFlow",
                "regularizer and constraint",
                "batch normalization without scale",
            ),
            *LABELS,
            ("label, CategoryEncoding", "category_encoding", {"options": TEN}),
            (
                "label, CategoryEncoding, without options",
                "category_encoding",
                {"rejected": "does not show how many labels there are; give `labels`"},
            ),
            ("ACGAN", "acgan", {}),
            ("dict of latents and label", "dict_of_inputs", {}),
            ("latents (100, 1)", "of_shape", {"latents": [100, 1]}),
            *ends("sigmoid, to [-1, 1]", "tanh, dropout", "tanh, upsampled", "tanh, upsampled bilinearly"),
            *ends("tanh, resized", "tanh, max-pooled", "tanh, padded", "tanh, cropped"),
            *ends("rows of TimeDistributed"),
            *ends("tanh, ReLU", "hard sigmoid", "ReLU up to 1", span=ZERO_TO_ONE),
            ("ReLU, without options", "ending", {"end": "ReLU", "rejected": NO_RANGE}),
            ("leaky ReLU, without options", "ending", {"end": "leaky ReLU", "rejected": NO_RANGE}),
            ("softmax, without options", "ending", {"end": "softmax", "rejected": NO_RANGE}),
            ("rows (n, 784)", "rows", {"pixels": 784, "shape": (28, 28, 1)}),
            ("channels first", "channels_first", {"permuted": False, "layout": "NCHW"}),
            ("two outputs", "two_outputs", {"options": {"output_name": "small"}, "chosen": 0}),
            ("mixed_float16", "precise", {"policy": "mixed_float16", "levels": 3}),
            ("mixed_bfloat16", "precise", {"policy": "mixed_bfloat16"}),
        ],
        form="h5",
    ),
    *kinds(TENSORFLOW_2_15, LAMBDAS_OF_KERAS_2 if IS_OLD_PYTHON else [], form="h5", options=TRUST),
    *kinds(
        TENSORFLOW_2_15,
        [
            *OWN_LAYERS,
            ("own layers, .keras", "style_gan", {"form": "keras", "options": OWN}),
            ("Lambda with tf, SavedModel", "lambdas", {"kind": "tf", "form": "saved by Keras"}),
            ("subclass of Model, SavedModel", "own_model", {"form": "saved by Keras"}),
            *GANS,
            (
                "GAN as a subclass of Model, SavedModel",
                "whole_gan",
                {"kind": "subclass", "form": "saved by Keras", "rejected": inside("generator")},
            ),
            (
                "GAN as a subclass of Model, SavedModel, layer",
                "whole_gan",
                {"kind": "subclass", "form": "saved by Keras", "options": {"layer": "generator"}},
            ),
            (
                "BatchNormalization called with training=True",
                "statistics_of_the_batch",
                {"rejected": "generates another image for a seed alone than in a batch, so save it in"},
            ),
            *FAULTS,
        ],
        form="h5",
    ),
]

WITH_TF_KERAS = [
    *kinds(TF_KERAS, FILES),
    *kinds(
        TF_KERAS,
        [
            ("published, dense layers and tf.reshape", "dense_with_tf_reshape", {}),
            ("published, rows and a legacy optimizer", "flat_compiled", {"shape": (28, 28, 1)}),
            ("label (n, 1), embedding multiplied", "embedding_multiplied", {}),
            ("Lambda with tf", "lambdas", {"kind": "tf", "options": TRUST}),
            ("own layers", "style_gan", {"options": OWN}),
            ("generator and discriminator in a row", "whole_gan", {"rejected": inside("generator")}),
            ("mixed_float16", "precise", {"policy": "mixed_float16", "levels": 3}),
        ],
        form="h5",
    ),
]

OF_MODULES = kinds(
    KERAS_3,
    [
        ("tf.Module, signature serving_default", "hub", {"serving_default": "simple"}),
        ("tf.Module, signature default (TF-Hub)", "hub", {"default": "simple"}),
        (
            "tf.Module without signatures, traced with one image",
            "hub",
            {"options": {"signature": "generate"}},
        ),
        ("BigGAN of TF-Hub", "hub", {"default": "conditional", "options": TRUNCATED}),
        (
            "tf.Module, two signatures, without options",
            "hub",
            {
                "one": "simple",
                "two": "conditional",
                "rejected": "choose one of one .*, two .* with `signature=",
            },
        ),
        (
            "tf.Module, two signatures",
            "hub",
            {"one": "simple", "two": "conditional", "options": {"signature": "one"}},
        ),
        ("tf.Module, compiled by XLA", "hub", {"serving_default": "compiled"}),
        ("tf.Module, images of uint8", "hub", {"serving_default": "levels", "span": BYTES}),
        ("tf.Module, random noise", "hub", {"serving_default": "random", "rejected": RANDOM}),
    ],
    group=MODULES_OF_TENSORFLOW,
)

KINDS = [*WITH_KERAS_3, *WITH_TENSORFLOW_2_15, *WITH_TF_KERAS, *OF_MODULES]
