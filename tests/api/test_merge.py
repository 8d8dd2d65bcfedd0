from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.merge import merge_patch

names = st.sampled_from(["a", "b", "c"]) | st.text(max_size=3)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


values = trees(scalars)
objects = st.dictionaries(names, values, max_size=4)
nothing_null = trees(scalars.filter(lambda value: value is not None))


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396_appendix_a(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_the_example_of_rfc_7396_section_3() -> None:
    target = {
        "title": "Goodbye!",
        "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"],
        "content": "This will be unchanged",
    }
    patch = {
        "title": "Hello!",
        "phoneNumber": "+01-123-456-7890",
        "author": {"familyName": None},
        "tags": ["example"],
    }
    assert merge_patch(target, patch) == {
        "title": "Hello!",
        "author": {"givenName": "John"},
        "tags": ["example"],
        "content": "This will be unchanged",
        "phoneNumber": "+01-123-456-7890",
    }


@given(objects)
def test_nothing_to_change_changes_nothing(target: Any) -> None:
    assert merge_patch(target, {}) == target


@given(values, values)
def test_a_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(objects, names)
def test_null_removes_and_nothing_else(target: dict[str, Any], name: str) -> None:
    left = {each: value for each, value in target.items() if each != name}
    assert merge_patch(target, {name: None}) == left


@given(values, names, st.lists(values, max_size=3))
def test_a_list_replaces_whatever_was_there(target: Any, name: str, items: list[Any]) -> None:
    assert merge_patch(target, {name: items})[name] == items


@given(values, nothing_null.filter(lambda patch: not isinstance(patch, dict)))
def test_what_is_no_object_replaces_everything(target: Any, patch: Any) -> None:
    assert merge_patch(target, patch) == patch


def nulls(value: Any) -> int:
    """Members of objects that are null; those in lists stay what they are."""
    if not isinstance(value, dict):
        return 0
    return sum(1 if each is None else nulls(each) for each in value.values())


@given(nothing_null, objects)
def test_no_null_of_a_patch_is_left(target: Any, patch: dict[str, Any]) -> None:
    assert nulls(merge_patch(target, patch)) == 0


@given(objects, objects)
def test_members_come_from_the_patch_or_else_from_the_target(
    target: dict[str, Any], patch: dict[str, Any]
) -> None:
    merged = merge_patch(target, patch)
    for name in target.keys() | patch.keys():
        if name not in patch:
            assert merged[name] == target[name]
        elif patch[name] is None:
            assert name not in merged
        else:
            assert merged[name] == merge_patch(target.get(name), patch[name])


@given(values, values)
def test_neither_target_nor_patch_is_changed(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    merge_patch(target, patch)
    assert (target, patch) == before
