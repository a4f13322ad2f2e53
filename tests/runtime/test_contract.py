import dataclasses
import json

import pytest

from ganport.runtime.contract import Contract, InputSpec
from ganport.runtime.errors import ContractError, ContractVersionError
from tests.tiny_generator import DIM, tiny_contract

DOCUMENT = tiny_contract(dtype="uint8").to_dict()


def changed(path: str, value: object) -> str:
    """Return the document as JSON with one field changed, or without it if the value is ... (Ellipsis)."""
    document = json.loads(json.dumps(DOCUMENT))
    *parents, name = path.split(".")
    parent = document
    for key in parents:
        parent = parent[key]
    if value is ...:
        del parent[name]
    else:
        parent[name] = value
    return json.dumps(document)


def labelled(labels: tuple[str, ...], **changes) -> Contract:
    spec = InputSpec(kind="latent", name="latent", dim=DIM, distribution="normal", labels=labels)
    return tiny_contract(input=spec, **changes)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_contract_survives_conversion_to_json(dtype, batch):
    golden = {"seeds": [2**63 - 1], "png_base64": "x"}
    contract = tiny_contract(dtype=dtype, batch=batch, recipe={"steps": 3}, golden=golden)
    assert Contract.from_json(contract.to_json()) == contract
    assert json.loads(contract.to_json())["batch"] == (batch or "dynamic")


def test_dictionary_is_the_document():
    contract = labelled(("red", "green"), batch=4)
    document = contract.to_dict()
    assert json.loads(json.dumps(document)) == json.loads(contract.to_json())
    assert document["format"] == 2
    assert document["batch"] == 4
    assert document["input"]["labels"] == ("red", "green")
    assert document["image"]["height"] == 3
    document["image"]["height"] = 99  # the dictionary is a copy
    assert contract.image.height == 3


def test_summary_lists_the_known_facts():
    assert tiny_contract(dtype="uint8").summary() == {
        "name": "tiny",
        "images": "3x4x1 uint8",
        "input": "5 latents",
        "precision": "float32",
        "created by": "tests",
    }
    summary = labelled(("red", "green"), created_by="", data={"name": "mnist"}).summary()
    assert summary["labels"] == "red, green"
    assert summary["data"] == "mnist"
    assert "created by" not in summary


@pytest.mark.parametrize(("kind", "expected"), [("seed", "seeds"), ("fixed", "3 fixed seeds")])
def test_summary_names_the_input(kind, expected):
    seeds = (9, 200, 4) if kind == "fixed" else None
    spec = InputSpec(kind=kind, name="seed", dim=DIM, distribution="normal", seeds=seeds)
    assert tiny_contract(input=spec, batch=3).summary()["input"] == expected


def test_repr_is_one_short_line():
    text = repr(tiny_contract(dtype="uint8"))
    expected = "images: 3x4x1 uint8, input: 5 latents, precision: float32, created by: tests"
    assert text == f"<Contract 'tiny', {expected}>"
    many = labelled(tuple(f"label {number}" for number in range(1000)), name="x\n\x1b[2J")
    assert len(repr(many)) < 250
    assert repr(many).isprintable()
    assert "label 0, label 1" in repr(many)


def test_notebook_shows_a_table_of_the_summary():
    table = labelled(("red", "<b>"), name="\x1b[2J & co")._repr_html_()
    assert table.startswith("<table><tr>")
    assert table.count("<tr>") == len(labelled(("red", "<b>")).summary())
    assert "red, &lt;b&gt;" in table
    assert r"\x1b[2J &amp; co" in table
    assert ">5 latents</td>" in table


def test_contract_can_be_copied_with_changes():
    contract = tiny_contract()
    assert dataclasses.replace(contract, name="other") == tiny_contract(name="other")


@pytest.mark.parametrize(
    ("distribution", "labels", "version"),
    [
        ("normal", None, 1),
        ("normal", ("red", "green"), 2),
        ("uniform", None, 3),
        ("uniform01", ("red", "green"), 3),
    ],
)
def test_contract_is_written_in_the_oldest_format_that_can_express_it(distribution, labels, version):
    spec = InputSpec(kind="latent", name="latent", dim=DIM, distribution=distribution, labels=labels)
    contract = tiny_contract(input=spec)
    document = contract.to_dict()
    assert (document["format"], document["input"]["distribution"]) == (version, distribution)
    assert Contract.from_json(contract.to_json()) == contract


def test_one_hot_codes_need_the_newest_format():
    spec = labelled(("red", "green")).input
    contract = tiny_contract(input=dataclasses.replace(spec, label_encoding="one-hot"))
    document = contract.to_dict()
    assert (document["format"], document["input"]["label_encoding"]) == (4, "one-hot")
    assert Contract.from_json(contract.to_json()) == contract
    document["input"]["label_encoding"] = "two-hot"
    with pytest.raises(ContractError, match="expected index or one-hot, found 'two-hot'"):
        Contract.from_json(json.dumps(document))
    document["format"] = 3  # an older runtime would not know the field
    assert Contract.from_json(json.dumps(document)).input.label_encoding == "index"
    assert "label_encoding" not in labelled(("red", "green")).to_dict()["input"]


@pytest.mark.parametrize(
    ("precision", "stored", "arithmetic"),
    [
        ("float32", "float32", ...),
        ("float16", "float16", "float32"),
        ("float16-arithmetic", "float16", ...),
        ("int8", "int8", ...),
    ],
)
def test_precision_is_written_as_older_runtimes_read_it(precision, stored, arithmetic):
    contract = tiny_contract(precision=precision)
    document = contract.to_dict()
    assert (document["format"], document["precision"]) == (1, stored)
    assert document.get("arithmetic", ...) == arithmetic
    assert Contract.from_json(contract.to_json()).precision == precision
    with pytest.raises(ContractError, match="expected float32 or float16, found 'int4'"):
        Contract.from_json(json.dumps(document | {"arithmetic": "int4"}))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("distribution", ["uniform", "uniform01"])
def test_older_formats_have_normal_latents_only(version, distribution):
    document = json.loads(changed("format", version))
    document["input"]["distribution"] = distribution
    with pytest.raises(ContractError, match="expected normal, found 'uniform") as caught:
        Contract.from_json(json.dumps(document))
    assert caught.value.field == "input.distribution"


@pytest.mark.parametrize("distribution", ["cauchy", "", None])
def test_unknown_distribution_is_rejected_in_the_newest_format(distribution):
    document = json.loads(changed("format", 3))
    document["input"]["distribution"] = distribution
    with pytest.raises(ContractError) as caught:
        Contract.from_json(json.dumps(document))
    assert caught.value.field == "input.distribution"


@pytest.mark.parametrize("version", [0, 5, 99])
def test_other_format_is_rejected_with_a_remedy(version):
    with pytest.raises(ContractVersionError, match=f"format {version}.*upgrade ganport") as caught:
        Contract.from_json(changed("format", version))
    assert (caught.value.got, caught.value.known) == (version, 4)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', "[" * 100_000])
def test_text_that_is_not_a_json_object_is_rejected(text):
    with pytest.raises(ContractError):
        Contract.from_json(text)


FIELDS = [
    *(name for name in DOCUMENT),
    *(f"input.{name}" for name in DOCUMENT["input"] if name not in ("seeds", "labels")),
    *(f"image.{name}" for name in DOCUMENT["image"]),
    *(f"golden.{name}" for name in DOCUMENT["golden"]),
]


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ('{"a": ' * 400 + "1" + "}" * 400, "nested more than 32 deep"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "nested more than 32 deep"),
        (f'{{"a": [{"1," * 200_000}1]}}', "more than 196,608 values"),
        ("{" + ",".join(f'"{key}": 1' for key in range(100_000)) + "}", "more than 196,608 values"),
        (r'{"a": "\ud800"}', "not a Unicode text"),
        (r'{"\udfff": 1}', "not a Unicode text"),
    ],
    ids=["objects", "lists", "long list", "many keys", "lone surrogate", "key"],
)
def test_contract_that_is_too_large_or_not_unicode_is_rejected(recipe, problem):
    text = tiny_contract().to_json()
    assert '"recipe": {}' in text
    with pytest.raises(ContractError, match=problem):
        Contract.from_json(text.replace('"recipe": {}', f'"recipe": {recipe}'))
    Contract.from_json(text.replace('"recipe": {}', r'"recipe": {"a": "\ud83d\ude00", "b": [[[[1]]]]}'))


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
def test_value_that_no_generator_can_have_is_rejected(field, value):
    with pytest.raises(ContractError) as caught:
        Contract.from_json(changed(field, value))
    assert caught.value.field == field


@pytest.mark.parametrize("seeds", [[-1], ["0"], None, 3])
def test_invalid_fixed_seeds_are_rejected(seeds):
    document = json.loads(changed("input.kind", "fixed"))
    document["input"]["seeds"] = seeds
    with pytest.raises(ContractError) as caught:
        Contract.from_json(json.dumps(document))
    assert caught.value.field == "input.seeds"
