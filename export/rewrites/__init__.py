"""Rewrites: each removes work from a graph. The images stay the same, up to the rounding of float32.

A rewrite is a function of a graph. If it finds a change to make, it makes one change and returns True.
Otherwise it returns False. `simplify` applies the rewrites until none of them finds a change.

    shapes.py        turns computed shapes into constants, and nodes that repeat pixels into a Resize
    layout.py        removes, merges or moves transposes and reshapes
    affine.py        folds affine steps (a Mul or an Add with a constant) into dense layers and convolutions
    convolutions.py  replaces convolutions by operations that onnxruntime computes faster
    labels.py        passes a label on as its index, not by way of a one-hot code
    portable.py      replaces operators that some targets do not read
    steps.py         functions that all rewrites share: they find the kind of a node, and read its weights
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from ..graph import Graph
from . import affine, convolutions, labels, layout, portable, shapes

Rewrite = Callable[[Graph], bool]

# Maps the name of each rewrite to its function, in the order in which `simplify` tries the rewrites. After
# each change, `simplify` starts again with the first rewrite.
REWRITES: Mapping[str, Rewrite] = {
    "skip slices of concats": labels.skip_slice_of_concat,
    "skip one-hot codes": labels.skip_argmax_of_one_hot,
    "drop no-ops": layout.drop_no_ops,
    "transpose dense weights": affine.transpose_dense_weights,
    "fix reshape targets": shapes.fix_reshape_targets,
    "replace repeats by resizes": shapes.replace_repeat_by_resize,
    "merge resizes": shapes.merge_resizes,
    "merge transposes, reshapes": layout.merge_transposes,
    "cancel transposes": layout.cancel_transposes,
    "split BatchNormalization": affine.split_batch_norm,
    "merge affine steps": affine.merge_affine,
    "fold affine into next layer": affine.fold_affine_into_next_layer,
    "move affine before reshape": affine.move_affine_before_reshape,
    "move affine before depth-to-space": affine.move_affine_before_depth_to_space,
    "move scale before activation": affine.move_scale_before_activation,
    "fold affine into previous layer": affine.fold_affine_into_previous_layer,
    "move transpose into dense layer": layout.move_transpose_forward,
    "move transpose before join": layout.move_transpose_before_join,
    "make one-pixel layer dense": convolutions.replace_one_pixel_by_dense,
    "fuse upsampling, convolution": convolutions.fuse_upsampling,
    "transpose narrow convolution": convolutions.transpose_narrow,
    # This rewrite comes late, since some of the others look for a Reshape directly after a dense layer.
    "move layout steps last": layout.move_layout_last,
    "make pads even": convolutions.make_pads_even,
}

# The rewrites for a generator in int8. onnxruntime computes a Conv in 8 bits, but a ConvTranspose only in
# float32. So the two rewrites that replace a Conv by a ConvTranspose are left out.
INT8_REWRITES: Mapping[str, Rewrite] = {
    name: rewrite
    for name, rewrite in REWRITES.items()
    if rewrite not in (convolutions.fuse_upsampling, convolutions.transpose_narrow)
}

# The rewrites for a target that reads few operators (`export.targets`). Its convolutions get even pads
# without a Slice.
TARGET_REWRITES: Mapping[str, Rewrite] = {
    "tabulate what depends on labels": portable.tabulate_label,
    "make pads explicit": portable.make_pads_explicit,
    **{name: rewrite for name, rewrite in REWRITES.items() if rewrite is not convolutions.make_pads_even},
    "reshape single channels": portable.reshape_single_channel,
    "fuse convolution, depth-to-space": portable.fuse_depth_to_space,
    "fold crops into pads": portable.fold_crop_into_pads,
    "split dense layers of concats": portable.split_dense_of_concat,
    "make kernels even": portable.even_pads_by_kernel,
    "make dense layers Gemm": portable.make_dense_gemm,
    "state the batch in reshapes": portable.state_batch_in_reshapes,
}


def simplify(model: onnx.ModelProto, rewrites: Mapping[str, Rewrite] | None = None) -> onnx.ModelProto:
    """Return the model after the given rewrites, by default after all rewrites.

    A model with nested graphs, functions or sparse constants is returned unchanged.
    """
    if any(
        attribute.type == onnx.AttributeProto.GRAPH
        for node in model.graph.node
        for attribute in node.attribute
    ):
        return model  # a nested graph may use values of the outer graph, and `Graph` does not see these uses
    if model.functions or model.graph.sparse_initializer:
        # `Graph` does not support functions and sparse constants. tf2onnx does not write them.
        return model
    graph = Graph(model)
    chosen = list((REWRITES if rewrites is None else rewrites).values())
    while any(rewrite(graph) for rewrite in chosen):
        graph.drop_unused()  # an unused node must not count as a consumer
    return graph.to_model()
