"""A generator as C source: one header and one source file that need no library but C's own mathematics.

planning.py     from a graph to steps: what is computed, and which floats in memory each tensor is
operators.py    the operators of ONNX, each a function that plans steps; with layers.py and resizing.py
views.py        tensors as shapes with strides, so that most reshapes and transposes cost nothing
memory.py       where the activations lie in memory
weights.py      weights in float32, float16 and int8, in the order in which the C code reads them
emission.py     the C code of the steps
source_files.py the two files: names, comments, golden images
templates/      the C functions that all generators share
"""
