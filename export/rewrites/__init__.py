"""Rewrites that keep the numbers, up to the rounding of float32, and drop the work.

Each takes a graph, makes one change and says so, or finds none to make. `simplify` makes them all until none is left.

    shapes.py        what tf2onnx works out at run time and is known beforehand
    layout.py        transposes and reshapes
    affine.py        one Mul or Add by a constant; BatchNormalization in inference is one of each
    convolutions.py  one form of a convolution for another that onnxruntime is faster at
    steps.py         linear and affine steps: what they are, and what their weights mean
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from ..graph import Graph
from . import affine, convolutions, layout, shapes

Rewrite = Callable[[Graph], bool]

# The first that finds something to do is tried again first.
REWRITES: Mapping[str, Rewrite] = {
    "drop no-ops": layout.drop_no_ops,
    "fix reshape targets": shapes.fix_reshape_targets,
    "make resizes of repeats": shapes.make_resize_of_repeat,
    "merge resizes": shapes.merge_resizes,
    "merge transposes, reshapes": layout.merge_transposes,
    "cancel transposes": layout.cancel_transposes,
    "split BatchNormalization": affine.split_batch_norm,
    "merge affine steps": affine.merge_affine,
    "fold affine into layer behind": affine.fold_affine_into_linear_behind,
    "lift affine over reshape": affine.lift_affine_over_reshape,
    "lift affine over depth-to-space": affine.lift_affine_over_depth_to_space,
    "lift scale over activation": affine.lift_scale_over_activation,
    "fold affine into layer before": affine.fold_affine_into_linear_before,
    "lift transpose into dense layer": layout.lift_transpose,
    "make dense layer of one pixel": convolutions.make_dense_of_one_pixel,
    "upsample within convolution": convolutions.fuse_upsampling,
    "transpose narrow convolution": convolutions.transpose_narrow,
    "sink reshape, last transpose": layout.sink_layout,  # the others want a Reshape right behind its dense layer
    "even pads": convolutions.even_pads,
}

# onnxruntime computes a ConvTranspose in float32 whatever its weights are: an int8 generator keeps its convolutions.
INT8_REWRITES: Mapping[str, Rewrite] = {
    name: rewrite
    for name, rewrite in REWRITES.items()
    if rewrite not in (convolutions.fuse_upsampling, convolutions.transpose_narrow)
}


def simplify(model: onnx.ModelProto, rewrites: Mapping[str, Rewrite] | None = None) -> onnx.ModelProto:
    """Return the model after all rewrites, or after those that are given by name."""
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in model.graph.node for attribute in node.attribute):
        return model  # a graph within a graph sees values that nobody outside seems to use
    if model.functions or model.graph.sparse_initializer:
        return model  # tf2onnx makes none
    graph = Graph(model)
    chosen = list((REWRITES if rewrites is None else rewrites).values())
    while any(rewrite(graph) for rewrite in chosen):
        graph.drop_dead()  # what nobody uses must not count as another use
    return graph.to_model()
