"""The export: a trained Keras generator goes in, one verified .onnx file comes out.

    import ganport

    ganport.export("runs/digits", "digits.onnx")

`export` is the function for users. The modules, in the order of an export:

    exporting.py     the sequence of an export
    paths.py         where the generator comes from, and where the file goes
    options.py       the options of the file
    packages.py      the packages that only the export needs, imported on first use
    sources.py       loads a run, a file or a Keras model as a generator, with what is known about it
    conversion.py    the one call into tf2onnx
    graph.py         an ONNX graph that can be rewritten
    rewrites/        rewrites, which remove work from the graph and keep its images the same
    input_stages.py  nodes that turn seeds and labels into the generator's input
    output_stages.py nodes that turn the generator's floats into pixels
    precision.py     float16 and int8
    parity.py        the comparison of the graph with Keras
    verified.py      the steps from a Keras generator to a verified graph
    writing.py       the file with its contract and golden images
    formats.py       onnxruntime's own format, and the configuration for Triton
    card.py          the model card
    costs.py         nodes, parameters, bytes and time of a graph
    errors.py        the errors of this package

Importing this package loads no TensorFlow and no onnx; calling `export` does.
"""

from .exporting import Exported, export, export_file, export_generator
from .options import Options

__all__ = ["Exported", "Options", "export", "export_file", "export_generator"]
