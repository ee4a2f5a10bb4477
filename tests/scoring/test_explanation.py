"""Reasons in words: what an input means, its value, and nothing private."""

import dataclasses

import numpy as np
from graph_world import SHIPPED, shipped_spec

from scoring.explanation import input_meanings, shown_inputs, top_reasons
from scoring.models import input_names
from transforms.inputs import numeric_names


def test_every_input_of_the_shipped_configs_has_words():
    for name in SHIPPED:
        spec = shipped_spec(name)
        meanings = input_meanings(spec)
        assert all(meanings[one].strip() for one in input_names(spec))


def test_values_of_private_columns_are_not_shown():
    spec = shipped_spec("card_fraud")
    assert all(shown_inputs(spec))
    amount = dataclasses.replace(spec.columns["amount"], private=True)
    hidden = dataclasses.replace(spec, columns={**spec.columns, "amount": amount})
    shown = dict(zip(numeric_names(hidden), shown_inputs(hidden), strict=True))
    assert [name for name, one in shown.items() if not one] == ["amount"]


def test_ties_are_told_by_name_and_what_lowers_is_left_out():
    made = top_reasons(np.array([1, 1, -5, 0, 9], np.float32), ["b", "a", "c", "d"], {})
    assert [one.name for one in made] == ["a", "b"]


def test_values_are_told_in_few_digits_and_null_as_none():
    made = top_reasons(
        np.array([3, 2, 1, 0], np.float32),
        ["a", "b", "c"],
        {"a": "payments", "b": "mean amount", "c": "a category"},
        values={"a": 12.0, "b": float("nan")},
    )
    assert [one.about for one in made] == ["payments: 12", "mean amount: none", "a category"]
    assert [one.value for one in made] == [12.0, None, None]
