"""The export: a trained generator goes in, one verified .onnx file comes out.

    import ganport

    ganport.export("runs/digits", "digits.onnx")

`export` is the function for users. The modules, in the order of an export:

    exporting.py           the sequence of an export
    paths.py               where the generator comes from, and where the file goes
    options.py             the options of the file
    packages.py            the packages that only the export needs, imported on first use
    sources.py             a generator, and what is known about it
    onnx_sources.py        loads an ONNX file; flattening.py removes functions and branches from its graph
    tensorflow_sources.py  loads a file of Keras or TensorFlow
    described.py           a third-party generator with its description
    standard_form.py       the one graph that every generator is brought into
    conversion.py          the calls into tf2onnx
    graph.py               an ONNX graph that can be rewritten
    rewrites/              rewrites, which remove work from the graph and keep its images the same
    input_stages.py        nodes that turn seeds and labels into the generator's input
    output_stages.py       nodes that turn the generator's floats into pixels
    precision.py           float16 and int8
    targets.py             what other runtimes read; seed_rule.py says in JSON how they make latents
    parity.py              the comparison of the graph with the original; sessions.py and workload.py serve it
    verified.py            the steps from a generator to a verified graph
    writing.py             the file with its contract and golden images
    formats.py             onnxruntime's own format, and the configuration for Triton
    card.py                the model card
    costs.py               nodes, parameters, bytes and time of a graph
    errors.py              the errors of this package

What Keras and TensorFlow write is loaded by these modules:

    loading.py             chooses by the content of a file; other_files.py names what can't be loaded
    keras_formats.py       formats of Keras files; keras_config.py reads and checks the configuration in them
    keras_files.py         models in files; lambdas.py loads the code in them
    keras_models.py        a model as a function, and the generator inside of a whole GAN
    saved_models.py        SavedModels and their signatures
    weights.py             weights with a network; checkpoints.py reads those of TensorFlow
    user_code.py           Python files of the user; frameworks.py decides between Keras 2 and 3
    tensorflow_function.py a function of TensorFlow with any inputs and outputs
    frozen_graphs.py       functions that can't be converted as they are; float32_graphs.py changes precisions
    tensor_shapes.py       shapes of inputs and outputs
    causes.py              the cause of an error in one line

Importing this package loads no TensorFlow and no onnx; calling `export` does.
"""

from .exporting import Exported, export, export_file, export_generator
from .options import Options

__all__ = ["Exported", "Options", "export", "export_file", "export_generator"]
