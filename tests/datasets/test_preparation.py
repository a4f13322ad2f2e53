"""The settings for preparing images: how they are given, checked and recorded."""

import dataclasses
import json

import pytest

from ganport.datasets.preparation import LARGEST_SIDE, Preparation, parse_colour, parse_image_size
from ganport.runtime.errors import UsageError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("64", 64),
        ("64x48", (64, 48)),
        (" 64 X 48 ", (64, 48)),
        ("64×48", (64, 48)),
        ("32x32", 32),
        (64, 64),
        ((64, 48), (64, 48)),
        ([64, 48], (64, 48)),
        ((7, 7), 7),
    ],
)
def test_image_size_is_a_side_or_height_and_width(given, expected):
    assert parse_image_size(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *("", "x", "64x", "x64", "64x48x3", "0", "-1", "6 4", "64.5", "٦٤", "9" * 5_000),
        *(0, -1, True, 64.0, None, (64,), (64, 48, 3), (64, 0), (64, "48"), LARGEST_SIDE + 1),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_image_sizes_are_rejected_with_an_example(given):
    with pytest.raises(UsageError, match=r"`image_size` is .*such as 64x48") as caught:
        parse_image_size(given)
    assert len(str(caught.value)) < 250


def test_text_form_is_height_before_width():
    assert Preparation("64x48").size == (64, 48)
    assert Preparation(64).size == (64, 64)
    assert Preparation().size is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("channels", value) for value in (0, 2, 5, "3", True)],
        *[("memory_limit", value) for value in (-1, 1.5, None, True)],
        *[("crop", value) for value in ("centre", "", None)],
        *[("background", value) for value in ("whit", "#ffff", "#12345678", "", None, 7, (255, 255, 255))],
        *[("skip_bad", value) for value in (1, "yes", None)],
    ],
)
def test_invalid_settings_are_rejected(setting, value):
    with pytest.raises(UsageError, match=f"`{'data_memory' if setting == 'memory_limit' else setting}` is "):
        Preparation(**{setting: value})


@pytest.mark.parametrize(
    ("text", "expected"), [("white", (255, 255, 255)), ("#102030", (16, 32, 48)), ("Navy", (0, 0, 128))]
)
def test_background_is_a_name_or_hexadecimal(text, expected):
    assert parse_colour(text) == expected
    assert Preparation(background=text).background_rgb == expected


def test_settings_survive_their_record_as_json():
    given = Preparation((64, 48), 4, 100, "none", "#102030", skip_bad=True)
    record = json.loads(json.dumps(dataclasses.asdict(given)))
    assert Preparation(**record) == given


def test_record_of_an_older_version_is_still_read():
    record = {"image_size": 64, "channels": 3, "memory_limit": 2048}
    assert Preparation(**record) == Preparation(64, 3)
    assert Preparation(**record).crop == "center"
