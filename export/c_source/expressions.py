"""C expressions of the operators that compute each element on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# Expressions with settings, written as {name}. The second entry holds the defaults of ONNX.
_SET: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "LeakyRelu": ("a >= 0.0f ? a : {alpha} * a", {"alpha": 0.01}),
    "Elu": ("a > 0.0f ? a : {alpha} * expm1f(a)", {"alpha": 1.0}),
    "Celu": ("a > 0.0f ? a : {alpha} * expm1f(a / {alpha})", {"alpha": 1.0}),
    "Selu": (
        "{gamma} * (a > 0.0f ? a : {alpha} * expm1f(a))",
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    ),
    "HardSigmoid": (
        "fminf(1.0f, fmaxf(0.0f, {alpha} * a + {beta}))",
        {"alpha": 0.2, "beta": 0.5},
    ),
    "ThresholdedRelu": ("a > {alpha} ? a : 0.0f", {"alpha": 1.0}),
    "Swish": ("a / (1.0f + expf(-{alpha} * a))", {"alpha": 1.0}),
}
_SOFTPLUS = "a > 0.0f ? a + log1pf(expf(-a)) : log1pf(expf(a))"
_PLAIN: Mapping[str, str] = {
    "Relu": "a > 0.0f ? a : 0.0f",
    "Tanh": "tanhf(a)",
    "Sigmoid": "1.0f / (1.0f + expf(-a))",
    "Softplus": _SOFTPLUS,
    "Softsign": "a / (1.0f + fabsf(a))",
    "HardSwish": "a * fminf(1.0f, fmaxf(0.0f, a / 6.0f + 0.5f))",
    "Mish": f"a * tanhf({_SOFTPLUS})",
    "Erf": "erff(a)",
    "Exp": "expf(a)",
    "Log": "logf(a)",
    "Sqrt": "sqrtf(a)",
    "Abs": "fabsf(a)",
    "Neg": "-a",
    "Reciprocal": "1.0f / a",
    "Floor": "floorf(a)",
    "Ceil": "ceilf(a)",
    "Round": "rintf(a)",
    "Sin": "sinf(a)",
    "Cos": "cosf(a)",
}
_GELU = {
    b"none": "0.5f * a * (1.0f + erff(a * 0.707106781f))",
    b"tanh": "0.5f * a * (1.0f + tanhf(0.797884561f * (a + 0.044715f * a * a * a)))",
}

UNARY = (*_SET, *_PLAIN, "Gelu")
BINARY: Mapping[str, str] = {
    "Add": "a + b",
    "Sub": "a - b",
    "Mul": "a * b",
    "Div": "a / b",
    "Sum": "a + b",
    "Pow": "powf(a, b)",
    "Max": "fmaxf(a, b)",
    "Min": "fminf(a, b)",
}


def literal(value: float) -> str:
    """Return a C literal of exactly this float32.

    >>> literal(0.2), literal(1), literal(-0.5)
    ('0.200000003f', '1.0f', '(-0.5f)')
    """
    text = f"{np.float32(value):.9g}"
    text = f"{text}f" if any(each in text for each in ".en") else f"{text}.0f"
    return f"({text})" if text.startswith("-") else text


def unary_expression(operator: str, settings: Mapping[str, Any]) -> str:
    """Return the C expression of an operator with one input, a."""
    if operator == "Gelu":
        return _GELU[settings.get("approximate", b"none")]
    if operator in _PLAIN:
        return _PLAIN[operator]
    expression, defaults = _SET[operator]
    return expression.format(**{name: literal(settings.get(name, value)) for name, value in defaults.items()})
