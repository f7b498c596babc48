"""SQL does not look at case: no two columns may come under names that it takes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import BadInput
from tasks.ingestion.tables.column_names import check_named, distinct_names

OWN = ("sample_id", "row", "label")


@pytest.mark.parametrize(
    ("names", "named", "renamed"),
    [
        (["a", "b"], [], {}),
        (["a", "A"], [], {"A": "A_2"}),
        (["a", "A"], ["A"], {"a": "a_2"}),
        (["a", "A", "a_2"], [], {"A": "A_3"}),
        (["Row", "x"], [], {"Row": "original_Row"}),
        (["row", "x"], [], {}),
        (["row", "Row", "ROW"], [], {"Row": "original_Row", "ROW": "original_ROW_2"}),
        (["Label"], ["Label"], {}),
    ],
)
def test_a_column_that_options_name_keeps_its_name(names, named, renamed):
    assert distinct_names(names, named, OWN, "a.csv") == renamed


@given(st.lists(st.text("aAbB_2", min_size=1, max_size=4), unique=True, max_size=12))
def test_afterwards_no_two_are_one(names):
    renamed = distinct_names(names, [], OWN, "a.csv")
    after = [renamed.get(name, name).lower() for name in names]
    assert len(set(after)) == len(after)


def test_two_that_options_name_are_refused():
    with pytest.raises(BadInput, match="differ in case alone"):
        distinct_names(["a", "A"], ["a", "A"], OWN, "a.csv")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotation", "Name a field: --reader.label annotation.label."),
        ("label", "Did you mean --reader.label annotation.label?"),
        ("annotation.lable", "Did you mean --reader.label annotation.label?"),
        ("txt", "Did you mean --reader.label text?"),
        ("my name", "Did you mean --reader.label 'my names'?"),
    ],
)
def test_a_hint_leads_to_a_value_as_one_types_it(name, words):
    objects = {"annotation": ("annotation.label", "annotation.by")}
    with pytest.raises(BadInput) as caught:
        check_named([("label", name)], ["annotation", "text", "my names"], objects, "a.jsonl")
    assert words == caught.value.do


def test_a_name_with_a_comma_is_quoted_where_several_may_stand():
    with pytest.raises(BadInput) as caught:
        check_named([("features", "w, kg")], ["w, g", "a"], {}, "a.csv")
    assert caught.value.do == """Did you mean --reader.features '"w, g"'?"""
