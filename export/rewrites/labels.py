"""Labels: a graph that takes a label's index gets it directly, not by way of the one-hot code.

The standard form has one input of latents and one-hot code. A third-party graph that takes label indices is
brought into this form, and then gets an input for label indices again. These rewrites remove the detour.
"""

from __future__ import annotations

import numpy as np

from ..graph import Graph, attributes, make_node


def skip_slice_of_concat(graph: Graph) -> bool:
    """Replace a Slice that takes exactly one input of a Concat by this input. Both must be along axis 1."""
    for node in graph.nodes:
        concat = graph.producer(node.input[0]) if node.op_type == "Slice" else None
        if concat is None or concat.op_type != "Concat" or attributes(concat)["axis"] != 1:
            continue
        bounds = [graph.constant(node, index) for index in range(1, len(node.input))]
        if len(bounds) not in (3, 4) or any(bound is None or bound.size != 1 for bound in bounds):
            continue
        start, stop, axis, step = (*(int(np.ravel(bound)[0]) for bound in bounds if bound is not None), 1)[:4]
        if (axis, step) != (1, 1):
            continue
        for name in concat.input:
            shape = graph.shape(name)
            if shape is None or len(shape) != 2 or shape[1] is None:
                break
            if (start, stop) == (0, shape[1]) and not graph.is_output(node.output[0]):
                graph.replace(node, make_node("Identity", [name], node.output[0]))
                return True
            start, stop = start - shape[1], stop - shape[1]
    return False


def skip_argmax_of_one_hot(graph: Graph) -> bool:
    """Replace the index of the largest element of a label's one-hot code by the label."""
    for node in graph.nodes:
        one_hot = graph.producer(node.input[0]) if node.op_type == "ArgMax" else None
        if one_hot is None or one_hot.op_type != "OneHot" or attributes(node).get("axis") != 1:
            continue
        values = graph.constant(one_hot, 2)
        if values is None or values.tolist() != [0, 1] or graph.rank(one_hot.input[0]) != 1:
            continue
        if attributes(node).get("keepdims", 1):
            axes = graph.add_constant(np.array([1]))
            label = make_node("Unsqueeze", [one_hot.input[0], axes], node.output[0])
        else:
            label = make_node("Identity", [one_hot.input[0]], node.output[0])
        graph.replace(node, label)
        return True
    return False
