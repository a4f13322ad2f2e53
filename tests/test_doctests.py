"""The examples in docstrings give the results that they show."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.conftest import PACKAGES, ROOT

MODULES = sorted(
    ".".join(("ganport", *file.relative_to(ROOT).with_suffix("").parts))
    for package in PACKAGES
    for file in (ROOT / package).rglob("*.py")
    if ">>> " in file.read_text()
)


def test_there_are_examples():
    assert len(MODULES) >= 8


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_hold(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
