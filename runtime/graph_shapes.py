"""The shapes of the outputs of an operation, from the shapes and the small numbers of its inputs.

An operation that is not listed here has outputs of unknown size. The rules are those of
https://onnx.ai/onnx/operators. A rule raises UnknownSizeError if it needs a fact that is not known. It may
raise any other error if the operation is malformed, because onnxruntime rejects such an operation itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .graph_values import Call, Shape, UnknownSizeError, count_of, kinds

# The shape of one output. A number stands for the number of elements if the shape is not known.
Size = Shape | int
Rule = Callable[[Call], Sequence[Size]]


def sizes_of_outputs(call: Call) -> Sequence[Size]:
    """Return the shape or the number of elements of each output. Raises UnknownSizeError."""
    if call.kind in _SAME:
        return [_shape_or_count(call, 0)]
    if call.kind in _BROADCASTING:
        return [_broadcast_all(call)]
    rule = _RULES.get(call.kind)
    if rule is None:
        raise UnknownSizeError
    return rule(call)


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape of an operation on arrays of these shapes, by the rules of NumPy.

    >>> broadcast((4, 1, 3), (2, 1))
    (4, 2, 3)
    """
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(_common_size(sizes) for sizes in zip(*padded, strict=True))


def _common_size(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    if 0 in known:
        return 0
    largest = max(known, default=1)
    return None if largest == 1 and len(known) < len(sizes) else largest


def _shape_or_count(call: Call, index: int) -> Size:
    known = call.known(index)
    return known.elements if known.shape is None else known.shape


def _broadcast_all(call: Call) -> Size:
    # The quantised forms take a scale and a zero point after each of their two inputs.
    chosen = [call.known(0), call.known(3)] if call.kind.startswith("QLinear") else call.inputs
    given = [known for known in chosen if known is not None]
    shapes = [known.shape for known in given if known.shape is not None]
    if len(shapes) < len(given):
        return max(known.elements for known in given)
    return broadcast(*shapes)


def _axis(axis: int, rank: int) -> int:
    """Return an axis counted from the front. Raises IndexError if there is no such axis."""
    if not -rank <= axis < rank:
        raise IndexError(axis)
    return axis % rank


def _product(sizes: Sequence[int | None]) -> int | None:
    """Return the product of sizes; None if one of them is not known."""
    return None if None in sizes else math.prod(size or 0 for size in sizes)


# Operations that move values


def _reshape(call: Call) -> Sequence[Size]:
    source = call.known(0)
    numbers = call.integers("shape") if "shape" in call.attributes else None
    if numbers is None:
        if call.known(1).numbers is None:
            return [source.elements]
        numbers = call.sizes(1)
    keeps_zero = call.integer("allowzero", 0)
    sizes: list[int | None] = []
    for axis, size in enumerate(numbers):
        sizes.append(call.shape(0)[axis] if size == 0 and not keeps_zero else size)
    if -1 in sizes:
        rest = count_of([size for size in sizes if size != -1])
        is_known = source.shape is not None and None not in source.shape and None not in sizes
        sizes[sizes.index(-1)] = source.elements // max(1, rest) if is_known else None
    return [tuple(sizes)]


def _transpose(call: Call) -> Sequence[Size]:
    shape = call.known(0).shape
    if shape is None:
        return [call.known(0).elements]
    order = call.integers("perm") or tuple(reversed(range(len(shape))))
    return [tuple(shape[axis] for axis in order)]


def _flatten(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    axis = call.integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [(_product(shape[:axis]), _product(shape[axis:]))]


def _squeeze(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    axes = call.list_at("axes", 1)
    if axes is None:
        return [tuple(size for size in shape if size != 1)]
    dropped = {_axis(axis, len(shape)) for axis in axes}
    return [tuple(size for axis, size in enumerate(shape) if axis not in dropped)]


def _unsqueeze(call: Call) -> Sequence[Size]:
    sizes = list(call.shape(0))
    axes = call.list_at("axes", 1) or ()
    rank = len(sizes) + len(axes)
    for axis in sorted(_axis(axis, rank) for axis in axes):
        sizes.insert(axis, 1)
    return [tuple(sizes)]


def _concat(call: Call) -> Sequence[Size]:
    given = [known for known in call.inputs if known is not None]
    shapes = [known.shape for known in given]
    first = shapes[0]
    if first is None or None in shapes:
        return [sum(known.elements for known in given)]
    axis = _axis(call.integer("axis", 0), len(first))
    parts = [shape[axis] for shape in shapes if shape is not None]
    total = None if None in parts else sum(part or 0 for part in parts)
    return [(*first[:axis], total, *first[axis + 1 :])]


def _split(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    axis = _axis(call.integer("axis", 0), len(shape))
    parts = call.list_at("split", 1)
    if parts is None:
        whole, count = shape[axis], max(1, call.outputs)
        if whole is None:
            parts = (1,) * call.outputs
        else:
            part = -(-whole // count)
            parts = (*(part,) * (count - 1), whole - part * (count - 1))
    return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]


def _slice(call: Call) -> Sequence[Size]:
    shape = list(call.shape(0))
    try:
        starts, ends = call.list_at("starts", 1) or (), call.list_at("ends", 2) or ()
        axes = call.list_at("axes", 3) or tuple(range(len(starts)))
        steps = call.list_at("steps", 4) or (1,) * len(starts)
    except UnknownSizeError:
        return [tuple(shape)]  # a slice is not larger than the whole
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        if size is not None:
            shape[axis] = len(range(*slice(start, end, step).indices(size)))
            if step < 0 and end < -size:  # ONNX ends such a slice at the first element
                shape[axis] = len(range(min(start % size if start < 0 else start, size - 1), -1, step))
    return [tuple(shape)]


def _gather(call: Call) -> Sequence[Size]:
    shape, indices = call.shape(0), call.shape(1)
    axis = _axis(call.integer("axis", 0), len(shape))
    return [(*shape[:axis], *indices, *shape[axis + 1 :])]


def _gather_nd(call: Call) -> Sequence[Size]:
    shape, indices = call.shape(0), call.shape(1)
    taken = indices[-1]
    if taken is None:
        raise UnknownSizeError
    return [(*indices[:-1], *shape[call.integer("batch_dims", 0) + taken :])]


def _second(call: Call) -> Sequence[Size]:
    return [_shape_or_count(call, 1)]


def _depth_to_space(call: Call) -> Sequence[Size]:
    batch, channels, *sides = call.shape(0)
    side = call.integer("blocksize", 1)
    grown = [None if size is None else size * side for size in sides]
    return [(batch, None if channels is None else channels // side ** len(sides), *grown)]


def _space_to_depth(call: Call) -> Sequence[Size]:
    batch, channels, *sides = call.shape(0)
    side = call.integer("blocksize", 1)
    shrunk = [None if size is None else size // side for size in sides]
    return [(batch, None if channels is None else channels * side ** len(sides), *shrunk)]


def _total(call: Call) -> Sequence[Size]:
    """Return the number of elements of a sequence, or of an element of it, which is not larger."""
    total = sum(known.elements for known in call.inputs if known is not None)
    return [total] * call.outputs


# Operations that repeat or enlarge values


def _expand(call: Call) -> Sequence[Size]:
    return [broadcast(call.shape(0), call.sizes(1))]


def _tile(call: Call) -> Sequence[Size]:
    source, repeats = call.known(0), call.sizes(1)
    if source.shape is None:
        return [source.elements * math.prod(repeats)]
    pairs = zip(source.shape, repeats, strict=True)
    return [tuple(None if size is None else size * repeat for size, repeat in pairs)]


def _pad(call: Call) -> Sequence[Size]:
    sizes = list(call.shape(0))
    pads = call.integers("pads") or call.integers("paddings") or call.sizes(1)
    axes = call.sizes(3) if call.has(3) else tuple(range(len(sizes)))
    for index, axis in enumerate(axes):
        size = sizes[axis]
        sizes[axis] = None if size is None else size + pads[index] + pads[index + len(axes)]
    return [tuple(sizes)]


def _resize(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    is_old = len(call.inputs) <= 2
    if not is_old and call.has(3) and call.known(3).elements:
        given: Sequence[float] = call.sizes(3)
        grow = False
    else:
        given = call.attributes["scales"].listed() if "scales" in call.attributes else ()
        given = given or call.factors(1 if is_old else 2)
        grow = True
    axes = call.integers("axes") or tuple(range(len(shape)))
    sizes = list(shape)
    for axis, number in zip(axes, given, strict=True):
        size = sizes[axis]
        sizes[axis] = (None if size is None else math.floor(size * number)) if grow else int(number)
    return [tuple(sizes)]


def _one_hot(call: Call) -> Sequence[Size]:
    indices = call.shape(0)
    (depth,) = call.sizes(1)
    axis = _axis(call.integer("axis", -1), len(indices) + 1)
    return [(*indices[:axis], depth, *indices[axis:])]


def _of_shape(call: Call) -> Sequence[Size]:
    return [call.sizes(0)]


def _range(call: Call) -> Sequence[Size]:
    (start,), (limit,), (step,) = call.factors(0), call.factors(1), call.factors(2)
    return [(max(0, math.ceil((limit - start) / step)),)]


def _window(call: Call) -> Sequence[Size]:
    return [call.sizes(0)]


def _mel_weights(call: Call) -> Sequence[Size]:
    (bins,), (length,) = call.sizes(0), call.sizes(1)
    return [(length // 2 + 1, bins)]


def _affine_grid(call: Call) -> Sequence[Size]:
    batch, _, *sides = call.sizes(1)
    return [(batch, *sides, len(sides))]


def _grid_sample(call: Call) -> Sequence[Size]:
    grid = call.shape(1)
    return [(*call.shape(0)[:2], *grid[1:-1])]


def _max_unpool(call: Call) -> Sequence[Size]:
    if call.has(2):
        return [call.sizes(2)]
    shape, kernel = call.shape(0), call.integers("kernel_shape") or ()
    strides = call.integers("strides") or (1,) * len(kernel)
    pads = call.integers("pads") or (0,) * 2 * len(kernel)
    sides = [
        None if size is None else (size - 1) * stride - before - after + side
        for size, side, stride, before, after in zip(
            shape[2:], kernel, strides, pads, pads[len(kernel) :], strict=False
        )
    ]
    return [(*shape[:2], *sides)]


def _center(call: Call) -> Sequence[Size]:
    sizes: list[int | None] = list(call.shape(0))
    for axis, size in zip(call.integers("axes") or range(len(sizes)), call.sizes(1), strict=True):
        sizes[axis] = size
    return [tuple(sizes)]


def _image_of_columns(call: Call) -> Sequence[Size]:
    batch, rows, _ = call.shape(0)
    sides, blocks = call.sizes(1), call.sizes(2)
    return [(batch, None if rows is None else rows // max(1, math.prod(blocks)), *sides)]


def _regions(call: Call) -> Sequence[Size]:
    sides = call.integers("pooled_shape")
    if sides is None:
        sides = call.integer("output_height", 1), call.integer("output_width", 1)
    return [(call.shape(1)[0], call.shape(0)[1], *sides)]


def _fourier(call: Call) -> Sequence[Size]:
    shape = list(call.shape(0))
    axis = _axis(call.sizes(2)[0] if call.has(2) else call.integer("axis", 1), len(shape))
    if call.has(1):
        (shape[axis],) = call.sizes(1)
    size = shape[axis]
    if call.integer("onesided", 0) and size is not None:
        shape[axis] = size // 2 + 1
    return [(*shape[:-1], 2)]


def _short_fourier(call: Call) -> Sequence[Size]:
    batch, length, *_ = call.shape(0)
    (step,) = call.sizes(1)
    (frame,) = call.sizes(3) if call.has(3) else call.shape(2)
    if length is None or frame is None:
        raise UnknownSizeError
    bins = frame // 2 + 1 if call.integer("onesided", 1) else frame
    return [(batch, (length - frame) // max(1, step) + 1, bins, 2)]


# Operations that count, choose or reduce


def _shape_of(call: Call) -> Sequence[Size]:
    rank = len(call.shape(0))
    start, end = call.integer("start", 0), call.integer("end", rank)
    return [(len(range(rank)[start:end]),)]


def _scalar(_: Call) -> Sequence[Size]:
    return [()]


def _quantised(call: Call) -> Sequence[Size]:
    return [_shape_or_count(call, 0), (), ()]


def _non_zero(call: Call) -> Sequence[Size]:
    return [(len(call.shape(0)), call.known(0).elements)]


def _unique(call: Call) -> Sequence[Size]:
    """Return the sizes if all values differ."""
    if "axis" in call.attributes:
        return [call.shape(0)]
    return [(call.known(0).elements,)] * call.outputs


def _compress(call: Call) -> Sequence[Size]:
    """Return the size if all values are kept."""
    return [call.shape(0) if "axis" in call.attributes else (call.known(0).elements,)]


def _reduce(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    axes = call.list_at("axes", 1)
    if not axes:
        axes = () if call.integer("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    reduced = {_axis(axis, len(shape)) for axis in axes}
    if call.integer("keepdims", 1):
        return [tuple(1 if axis in reduced else size for axis, size in enumerate(shape))]
    return [tuple(size for axis, size in enumerate(shape) if axis not in reduced)]


def _largest_index(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    axis = _axis(call.integer("axis", 0), len(shape))
    return [(*shape[:axis], *([1] if call.integer("keepdims", 1) else []), *shape[axis + 1 :])]


def _top(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    axis = _axis(call.integer("axis", -1), len(shape))
    count = call.integer("k", 0) or call.sizes(1)[0]
    return [(*shape[:axis], count, *shape[axis + 1 :])] * 2


# Products and convolutions


def _matrix_product(call: Call) -> Sequence[Size]:
    left, right = call.shape(0), call.shape(3 if call.kind == "QLinearMatMul" else 1)
    if call.integer("transA", 0):
        left = (*left[:-2], left[-1], left[-2])
    if call.integer("transB", 0):
        right = (*right[:-2], right[-1], right[-2])
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    return [(*broadcast(left[:-2], right[:-2]), *rows, *columns)]


def _gemm(call: Call) -> Sequence[Size]:
    left, right = call.shape(0), call.shape(3 if call.kind == "QGemm" else 1)
    rows = left[1 if call.integer("transA", 0) else 0]
    return [(rows, right[0 if call.integer("transB", 0) else 1])]


def _packed_product(call: Call) -> Sequence[Size]:
    return [(*call.shape(0)[:-1], call.integer("N", 0))]


def labels_of(call: Call) -> tuple[dict[str, int | None], str, list[str]]:
    """Return the sizes by label, the labels of the output, and those of each input, of an Einsum.

    An ellipsis is not supported. Raises UnknownSizeError.
    """
    equation = call.text("equation").replace(" ", "")
    if not equation or "." in equation:
        raise UnknownSizeError
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    sizes: dict[str, int | None] = {}
    for index, term in enumerate(terms):
        for label, size in zip(term, call.shape(index), strict=True):
            if sizes.get(label) in (None, 1):
                sizes[label] = size
    if not arrow:
        right = "".join(sorted(label for label in sizes if left.count(label) == 1))
    return sizes, right, terms


def _einsum(call: Call) -> Sequence[Size]:
    sizes, output, _ = labels_of(call)
    return [tuple(sizes[label] for label in output)]


def _convolution(call: Call) -> Sequence[Size]:
    shape, kernel = call.shape(0), call.shape(weights_index(call))
    sides = _pooled_sides(call, shape[2:], [1 if size is None else size for size in kernel[2:]])
    return [(shape[0], kernel[0], *sides)]


def weights_index(call: Call) -> int:
    """Return the index of the input that holds the weights of a convolution or of a matrix product."""
    return 3 if call.kind.startswith("QLinear") or call.kind == "QGemm" else 1


def _pooling(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    sides = _pooled_sides(call, shape[2:], call.integers("kernel_shape") or ())
    return [(*shape[:2], *sides)] * call.outputs


def _pooled_sides(call: Call, sides: Shape, kernel: Sequence[int]) -> list[int | None]:
    """Return the sides after a kernel was moved over an image."""
    strides = call.integers("strides") or (1,) * len(sides)
    dilations = call.integers("dilations") or (1,) * len(sides)
    pads = call.integers("pads") or (0,) * 2 * len(sides)
    is_same = call.text("auto_pad").startswith("SAME")
    found: list[int | None] = []
    for axis, size in enumerate(sides):
        stride = max(1, strides[axis])
        if size is None:
            found.append(None)
        elif is_same:
            found.append(-(-size // stride))
        else:
            span = (kernel[axis] - 1) * dilations[axis] + 1
            steps = (size + pads[axis] + pads[axis + len(sides)] - span) / stride
            found.append((math.ceil(steps) if call.integer("ceil_mode", 0) else math.floor(steps)) + 1)
    return found


def _transposed_convolution(call: Call) -> Sequence[Size]:
    shape, kernel = call.shape(0), call.shape(1)
    rank = len(shape) - 2
    strides = call.integers("strides") or (1,) * rank
    dilations = call.integers("dilations") or (1,) * rank
    pads = call.integers("pads") or (0,) * 2 * rank
    added = call.integers("output_padding") or (0,) * rank
    stated = call.integers("output_shape") or ()
    is_same = call.text("auto_pad").startswith("SAME")
    sides: list[int | None] = []
    for axis, size in enumerate(shape[2:]):
        side = kernel[2 + axis]
        if stated:
            sides.append(stated[axis - rank])
        elif size is None or side is None:
            sides.append(None)
        elif is_same:
            sides.append(size * strides[axis])
        else:
            grown = (size - 1) * strides[axis] + (side - 1) * dilations[axis] + 1 + added[axis]
            sides.append(grown - pads[axis] - pads[axis + rank])
    channels = kernel[1]
    return [(shape[0], None if channels is None else channels * call.integer("group", 1), *sides)]


def _global_pooling(call: Call) -> Sequence[Size]:
    shape = call.shape(0)
    return [(*shape[:2], *(1,) * (len(shape) - 2))]


def _recurrent(call: Call) -> Sequence[Size]:
    steps, batch, _ = call.shape(0)
    directions, width = call.shape(1)[0], call.integer("hidden_size", 1)
    last = (directions, batch, width)
    return [(steps, directions, batch, width), last, last]


# Operations whose first output has the shape of their first input.
_SAME = kinds(
    "Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization BiasGelu BitwiseNot Cast CastLike Ceil Celu "
    "Clip Cos Cosh CumSum DequantizeLinear Dropout Elu Erf Exp EyeLike FastGelu "
    "Floor Gelu GroupNormalization GroupNorm HardSigmoid HardSwish Hardmax Identity "
    "InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization "
    "MeanVarianceNormalization Mish Neg Not PRelu QLinearLeakyRelu QLinearSigmoid QLinearSoftmax "
    "QuantizeLinear QuickGelu RMSNormalization Reciprocal Relu ReverseSequence Round Scatter "
    "ScatterElements ScatterND Selu Shrink Sigmoid Sign SimplifiedLayerNormalization Sin Sinh "
    "SkipLayerNormalization Softmax Softplus Softsign Sqrt Swish TanH Tan Tanh TensorScatter "
    "ThresholdedRelu Trilu"
)
_BROADCASTING = kinds(
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual "
    "Max Mean Min Mod Mul Or Pow QLinearAdd QLinearMul Sub Sum Where Xor"
)
_REDUCING = kinds(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare"
)
_RULES: Mapping[str, Rule] = {
    "AffineGrid": _affine_grid,
    "ArgMax": _largest_index,
    "ArgMin": _largest_index,
    "AveragePool": _pooling,
    "BlackmanWindow": _window,
    "CenterCropPad": _center,
    "Col2Im": _image_of_columns,
    "Compress": _compress,
    "Concat": _concat,
    "ConcatFromSequence": _total,
    "ConstantOfShape": _of_shape,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed_convolution,
    "DFT": _fourier,
    "DepthToSpace": _depth_to_space,
    "DynamicQuantizeMatMul": _matrix_product,
    "DynamicQuantizeLinear": _quantised,
    "Einsum": _einsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "FusedConv": _convolution,
    "FusedGemm": _gemm,
    "FusedMatMul": _matrix_product,
    "GRU": _recurrent,
    "Gather": _gather,
    "GatherElements": _second,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pooling,
    "GlobalLpPool": _global_pooling,
    "GlobalMaxPool": _global_pooling,
    "GridSample": _grid_sample,
    "HammingWindow": _window,
    "HannWindow": _window,
    "LSTM": _recurrent,
    "LpPool": _pooling,
    "MatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "MatMulIntegerToFloat": _matrix_product,
    "MatMulNBits": _packed_product,
    "MaxPool": _pooling,
    "MaxRoiPool": _regions,
    "MaxUnpool": _max_unpool,
    "MelWeightMatrix": _mel_weights,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "Pad": _pad,
    "QGemm": _gemm,
    "QLinearConv": _convolution,
    "QLinearMatMul": _matrix_product,
    "RNN": _recurrent,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "RoiAlign": _regions,
    "STFT": _short_fourier,
    "SequenceAt": _total,
    "SequenceConstruct": _total,
    "SequenceInsert": _total,
    "Shape": _shape_of,
    "Size": _scalar,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "SplitToSequence": _total,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top,
    "Transpose": _transpose,
    "Unique": _unique,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
    **dict.fromkeys(_REDUCING, _reduce),
}
