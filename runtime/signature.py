"""Reading the contract of a model, and comparing it with the inputs and outputs of the model's graph."""

from __future__ import annotations

from typing import Any

from .contract import LABEL, METADATA_KEY, Contract
from .errors import ContractError

_ORT_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)"}


def read_contract(session: Any) -> Contract | None:
    """Return the contract of an open model; None if the file has no contract.

    Raises:
        ContractError: The contract is malformed, or does not fit the graph.
        UnicodeDecodeError: The metadata is not text.
    """
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        return None
    contract = Contract.from_json(text)
    _check_inputs(contract, session.get_inputs())
    image = contract.image
    _check_tensor("image", session.get_outputs(), image.name, image.dtype, contract.batch, image.graph_shape)
    return contract


def _check_inputs(contract: Contract, inputs: Any) -> None:
    given, batch = contract.input, contract.batch
    if given.kind == "fixed":
        _check_fixed(contract, inputs)
        return
    if given.labels:
        labels = [tensor for tensor in inputs if tensor.name == LABEL]
        if given.label_encoding == "index":
            _check_tensor("input.labels", labels, LABEL, "int64", batch, ())
        else:
            _check_tensor("input.labels", labels, LABEL, "float32", batch, (len(given.labels),))
        inputs = [tensor for tensor in inputs if tensor.name != LABEL]
    if given.kind == "seed":
        _check_tensor("input", inputs, given.name, "int64", batch, ())
    else:
        _check_tensor("input", inputs, given.name, "float32", batch, (given.dim,))


def _check_fixed(contract: Contract, inputs: Any) -> None:
    if inputs:
        names = [tensor.name for tensor in inputs]
        raise ContractError("input", f"the contract promises no input, the graph has {names}")
    if contract.batch != len(contract.input.seeds or ()):
        raise ContractError(
            "input.seeds", f"expected one seed per image, batch is {contract.batch or 'dynamic'}"
        )


def _check_tensor(
    field: str, tensors: Any, name: str, dtype: str, batch: int | None, shape: tuple[int, ...]
) -> None:
    """Raise ContractError unless the graph has exactly the one tensor that the contract promises.

    Args:
        field: Field of the contract, for the message.
        tensors: Inputs or outputs of the graph.
        name: Name of the tensor.
        dtype: Type of the tensor.
        batch: Size of its first axis, or None for a dynamic axis.
        shape: Sizes of its other axes.
    """
    found = [(tensor.name, tensor.type, tuple(tensor.shape)) for tensor in tensors]
    fits = len(found) == 1 and found[0][:2] == (name, _ORT_TYPES[dtype]) and _fits(found[0][2], batch, shape)
    if not fits:
        expected = (name, _ORT_TYPES[dtype], ("batch" if batch is None else batch, *shape))
        raise ContractError(field, f"the contract promises {expected}, the graph has {found}")


def _fits(found: tuple[Any, ...], batch: int | None, shape: tuple[int, ...]) -> bool:
    if len(found) != 1 + len(shape) or found[1:] != shape:
        return False
    return not isinstance(found[0], int) if batch is None else found[0] == batch
