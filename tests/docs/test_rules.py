"""Rules in words and as JSON Schema, comments as text."""

from typing import Any

import pytest
from docs.conftest import PAGES
from jsonschema import Draft202012Validator

from dockgate_server.docs import comments, limits
from dockgate_server.docs.schema import Schema


@pytest.mark.parametrize(
    ("rules", "words", "schema"),
    [
        ({"int32": {"gte": 0, "lte": 100}}, ["0 to 100"], {"minimum": 0, "maximum": 100}),
        ({"double": {"gte": -9999.9}}, ["at least -9999.9"], {"minimum": -9999.9}),
        ({"double": {"gt": 0.0}}, ["more than 0"], {"exclusiveMinimum": 0}),
        ({"int64": {"lt": 5}}, ["less than 5"], {"exclusiveMaximum": 5}),
        ({"int32": {"in": [1, 3]}}, ["one of 1, 3"], {"enum": [1, 3]}),
        ({"string": {"min_len": 1}}, ["at least 1 character"], {"minLength": 1}),
        ({"string": {"len": 4}}, ["exactly 4 characters"], {"minLength": 4, "maxLength": 4}),
        ({"string": {"pattern": "^a|b$"}}, ["matches `^a|b$`"], {"pattern": "^a|b$"}),
        ({"string": {"uuid": True}}, ["a UUID"], {}),
        ({"enum": {"not_in": [0]}}, ["not 0"], {"not": {"enum": [0]}}),
        ({"bool": {"const": True}}, ["only true"], {"const": True}),
        (
            {"string": {"min_len": 2}, "ignore": 1},
            ["at least 2 characters", "or empty"],
            {"anyOf": [{"const": ""}, {"minLength": 2}]},
        ),
        ({"string": {"min_len": 2}, "ignore": 3}, [], {}),
        ({"required": True}, [], {}),
    ],
)
def test_a_rule_in_words_and_as_schema(
    rules: dict[str, Any], words: list[str], schema: dict[str, Any]
) -> None:
    """Both say the same."""
    assert limits.words(rules) == words
    assert limits.schema(rules) == schema


@pytest.mark.parametrize(
    ("expression", "good", "bad"),
    [
        ("this == 0 || (this >= 20 && this <= 1500)", [0, 20, 1500], [-1, 19, 1501]),
        ("this > 1.5 && this < 2.5", [2], [1.5, 2.5]),
        (r"this.matches('^[^/\\s]*$')", ["", "ab"], ["a/b", "a b"]),
    ],
)
def test_a_comparison_in_cel_becomes_schema(
    expression: str, good: list[Any], bad: list[Any]
) -> None:
    """That much of CEL can be said."""
    rules = {"cel": [{"id": "x", "message": "as it should be", "expression": expression}]}
    assert limits.words(rules) == ["as it should be"]
    validator = Draft202012Validator(limits.schema(rules))
    assert [value for value in good if not validator.is_valid(value)] == []
    assert [value for value in bad if validator.is_valid(value)] == []


@pytest.mark.parametrize("expression", ["this % 2 == 0", "size(this) < now", "true", "this == 'x'"])
def test_other_cel_is_left_to_the_words(expression: str) -> None:
    """A schema that is too loose is better than one that is wrong."""
    rules = {"cel": [{"expression": expression}]}
    assert limits.schema(rules) == {}
    assert limits.words(rules) == [f"`{expression}`"]


@pytest.mark.parametrize(
    ("rules", "words", "schema"),
    [
        ({"required": True}, [], {"minItems": 1}),
        (
            {"repeated": {"min_items": 2, "max_items": 2}},
            ["exactly 2 elements"],
            {"minItems": 2, "maxItems": 2},
        ),
        (
            {"repeated": {"min_items": 2}, "ignore": 1},
            ["at least 2 elements", "or none"],
            {"anyOf": [{"maxItems": 0}, {"minItems": 2}]},
        ),
        (
            {"repeated": {"unique": True, "items": {"int32": {"gte": 1}}}},
            ["no element twice", "each at least 1"],
            {"uniqueItems": True},
        ),
    ],
)
def test_rules_of_a_list(rules: dict[str, Any], words: list[str], schema: dict[str, Any]) -> None:
    """How many, and each of them."""
    assert limits.words(rules) == words
    assert limits.list_schema(rules) == schema


def test_rules_over_several_fields() -> None:
    """They belong to no row of a table."""
    rules = {
        "cel": [{"message": "a before b", "expression": "this.a < this.b"}],
        "oneof": [{"fields": ["a", "b"], "required": True}, {"fields": ["c", "d"]}],
    }
    assert limits.over_several_fields(rules) == [
        "a before b",
        "exactly one of `a`, `b`",
        "at most one of `c`, `d`",
    ]


def test_a_comment_flows() -> None:
    """Paragraphs stay apart; lists and drawings keep their lines."""
    text = (
        " First line\n goes on.\n\n Second.\n - one\n   goes on\n - two\n\n   a ──► b\n   └─► c\n"
    )
    assert comments.prose(text).split("\n\n") == [
        "First line goes on.",
        "Second.",
        "- one goes on",
        "- two",
        "    a ──► b\n    └─► c",
    ]


@pytest.mark.parametrize(
    ("comment", "rest"),
    [
        ("Required. The file.", "The file."),
        ("Required; empty without tokens.", "Empty without tokens."),
        ("The file.", "The file."),
    ],
)
def test_what_a_column_says_is_not_said_again(comment: str, rest: str) -> None:
    """Required has its own."""
    assert comments.without_required(comment) == rest


def test_the_schema_is_read_without_the_stubs_idea_of_it(schema: Schema) -> None:
    """Arms, their specs, and the way round the schema apart from them."""
    method = next(one for one in schema.methods if one.name == "flighttask_prepare")
    assert method.message == "FlighttaskPrepare"
    assert method.spec["channel"] == "services"
    assert method.spec["devices"] == ["dock1", "dock2", "dock3"]
    assert [event["event_key"] for event in method.spec["progress"]] == ["flight_ids", "bid"]
    file = next(field for field in method.fields if field.name == "file")
    assert [part.name for part in file.parts] == ["url", "fingerprint"]
    assert file.required
    assert [one.name for one in schema.raw] == ["raw_method"]


def test_every_method_and_field_has_its_meaning() -> None:
    """Comments have come with the schema."""
    for page in PAGES.glob("*.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            assert not line.endswith("|  |"), line
            assert "DESCRIBE" not in line
