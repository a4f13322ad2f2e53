import json

import pytest

from ganport.runtime.contract import Contract
from ganport.runtime.errors import ContractError, ContractVersionError
from tests.tiny_generator import tiny_contract

DOCUMENT = json.loads(tiny_contract(dtype="uint8").to_json())


def changed(path: str, value: object) -> str:
    """Return the document as JSON with one field changed, or removed where the value is ... (Ellipsis)."""
    document = json.loads(json.dumps(DOCUMENT))
    *parents, name = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return json.dumps(document)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_contract_survives_the_way_through_json(dtype, batch):
    contract = tiny_contract(dtype=dtype, batch=batch, recipe={"steps": 3}, golden={"seeds": [2**63 - 1], "png_base64": "x"})
    assert Contract.from_json(contract.to_json()) == contract
    assert json.loads(contract.to_json())["batch"] == (batch or "dynamic")


@pytest.mark.parametrize("version", [0, 3, 99])
def test_other_format_says_what_to_do(version):
    with pytest.raises(ContractVersionError, match=f"format {version}.*upgrade ganport") as caught:
        Contract.from_json(changed("format", version))
    assert (caught.value.got, caught.value.known) == (version, 2)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(ContractError):
        Contract.from_json(text)


FIELDS = [
    *(name for name in DOCUMENT),
    *(f"input.{name}" for name in DOCUMENT["input"] if name not in ("seeds", "labels")),
    *(f"image.{name}" for name in DOCUMENT["image"]),
    *(f"golden.{name}" for name in DOCUMENT["golden"]),
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [..., None, True, 1.5], ids=["missing", "null", "true", "float"])
def test_field_that_is_missing_or_of_another_type_is_named(field, value):
    with pytest.raises(ContractError) as caught:
        Contract.from_json(changed(field, value))
    assert caught.value.field == field
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input.kind", "word"),
        ("input.distribution", "cauchy"),
        ("input.dim", 0),
        ("input.dim", 2**40),
        ("input.distribution", "uniform"),
        ("image.channels", 2),
        ("image.height", -1),
        ("image.layout", "HWNC"),
        ("image.dtype", "float64"),
        ("image.range", [0, 1]),
        ("image.range", [0, 255, 0]),
        ("batch", 0),
        ("batch", "many"),
        ("precision", "float8"),
        ("golden.seeds", [-1]),
        ("golden.seeds", [2**63]),
        ("golden.seeds", ["0"]),
        ("data.name", ["mnist"]),
    ],
)
def test_value_that_no_generator_can_have_is_refused(field, value):
    with pytest.raises(ContractError) as caught:
        Contract.from_json(changed(field, value))
    assert caught.value.field == field


@pytest.mark.parametrize("seeds", [[-1], ["0"], None, 3])
def test_baked_seeds_that_are_none_are_refused(seeds):
    document = json.loads(changed("input.kind", "fixed"))
    document["input"]["seeds"] = seeds
    with pytest.raises(ContractError) as caught:
        Contract.from_json(json.dumps(document))
    assert caught.value.field == "input.seeds"
