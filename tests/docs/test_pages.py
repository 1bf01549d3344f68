"""The method reference says what the schema says."""

import json
import re

import pytest
from docs.conftest import PAGES, Row
from docs.fields import FIELDS, rules_of, walk

from dockgate.dji.v1 import method_pb2, options_pb2
from dockgate_server.codec import catalogue, dji_json, rules
from dockgate_server.docs import schema

INDEX = (PAGES / "README.md").read_text(encoding="utf-8")
_RANGES = ("int32", "int64", "double")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def test_every_method_has_a_section_and_a_line_of_the_index(sections: dict[str, str]) -> None:
    """And nothing else has."""
    assert set(sections) == set(catalogue.METHODS)
    lines = re.findall(r"^\| \[(\w+)\]\((\w+)\.md#(\w+)\) \|", INDEX, re.MULTILINE)
    assert [name for name, _, _ in lines] == [anchor for _, _, anchor in lines]
    assert {name for name, _, _ in lines} == set(catalogue.METHODS)
    for name, page, _ in lines:
        text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
        assert f"\n## {name}\n" in text


def test_every_arm_of_the_schema_is_named() -> None:
    """Also the one that is the way round the schema."""
    for arm in method_pb2.Method.DESCRIPTOR.oneofs_by_name["method"].fields:
        assert f"[{arm.name}](" in INDEX or f"\n## {arm.name}\n" in INDEX


def test_a_page_shows_exactly_the_fields(rows: dict[str, dict[str, Row]]) -> None:
    """With those of the objects within, and of the reply no more than there are."""
    for name, method in catalogue.METHODS.items():
        assert list(rows[name]) == [path for path, _ in walk(method.descriptor)], name


def test_a_page_says_required_where_the_rules_do(rows: dict[str, dict[str, Row]]) -> None:
    """As buf.validate has it, field by field."""
    for name, path, field in FIELDS:
        assert rows[name][path].required == rules_of(field).required, (name, path)


def test_a_page_gives_the_range_that_the_rules_have(rows: dict[str, dict[str, Row]]) -> None:
    """Numbers, lengths and the words of what only CEL can say."""
    checked = 0
    for name, path, field in FIELDS:
        said = rows[name][path].range
        of_field = rules_of(field)
        kind = of_field.WhichOneof("type")
        if kind in _RANGES:
            limits = getattr(of_field, kind)
            for bound in ("gte", "gt", "lte", "lt"):
                if limits.HasField(bound):
                    assert _number(getattr(limits, bound)) in re.findall(r"-?[\d.]+", said)
                    checked += 1
        if kind == "string":
            text = of_field.string
            for member in ("min_len", "max_len", "len"):
                if text.HasField(member):
                    assert str(getattr(text, member)) in re.findall(r"\d+", said)
            if text.HasField("pattern"):
                assert text.pattern.replace("|", "\\|") in said
        if kind == "repeated" and of_field.repeated.HasField("max_items"):
            assert str(of_field.repeated.max_items) in re.findall(r"\d+", said)
        for rule in of_field.cel:
            assert rule.message.replace("|", "\\|") in said
    assert checked > 5


def test_a_page_lists_the_values_of_an_enum(sections: dict[str, str]) -> None:
    """With DJI's numbers, but for those that the rules refuse."""
    for name, path, field in FIELDS:
        if field.enum_type is None:
            continue
        refused = rules_of(field).enum.not_in
        listed = sections[name].partition(f"\nValues of `{path}`;")[2].partition("\n\n")[2]
        numbers = re.findall(r"^- (-?\d+) `", listed.partition("\n\n")[0], re.MULTILINE)
        expected = [one.number for one in field.enum_type.values if one.number not in refused]
        assert [int(number) for number in numbers] == expected, (name, path)


def test_a_page_tells_what_the_gateway_knows_of_a_method(sections: dict[str, str]) -> None:
    """Timeout, devices, safety, progress, DJI's page."""
    for name, method in catalogue.METHODS.items():
        spec, text = method.spec, sections[name]
        if spec.reply != options_pb2.REPLY_KIND_NONE:
            assert f"| answer | within {method.default_timeout_seconds} s" in text
        assert f"| safe to repeat | {'yes' if spec.safe_to_repeat else 'no'} |" in text
        assert ("| dangerous |" in text) == spec.dangerous
        assert ("| overtakes |" in text) == spec.overtakes
        assert f"/{spec.page})" in text
        undone = re.findall(r"\| undone by \| \[(\w+)\]\((\w+)\.md#(\w+)\) \|", text)
        assert [name for name, _, _ in undone] == ([spec.inverse] if spec.inverse else [])
        for inverse, page, anchor in undone:
            assert inverse == anchor
            assert f"\n## {inverse}\n" in (PAGES / f"{page}.md").read_text(encoding="utf-8")
        for device in spec.devices:
            word = options_pb2.DeviceModel.Name(device).removeprefix("DEVICE_MODEL_").lower()
            assert re.search(rf"\| devices \|[^\n]*\b{word}\b", text), (name, word)
        for link in method.progress:
            assert f"event [`{link.event}`](../events/" in text


def test_a_page_shows_what_a_reply_carries(sections: dict[str, str]) -> None:
    """For those whose reply is more than a result."""
    for name, descriptor in catalogue.REPLIES.items():
        for path, _ in walk(descriptor):
            assert f"\n| `{path}` | " in sections[name].partition("In the reply")[2], (name, path)


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_an_example_is_what_the_gateway_would_send(name: str, sections: dict[str, str]) -> None:
    """It breaks no rule, and comes out of the codec as it stands on the page."""
    (text,) = re.findall(r"```json\n(.*?)\n```", sections[name], re.DOTALL)
    shown = json.loads(text)["data"]
    method = catalogue.METHODS[name]
    payload = dict(shown or {})
    for field in method.descriptor.fields:
        if field.GetOptions().Extensions[options_pb2.field_spec].payload_index_key:
            ((index, rest),) = payload.items()
            payload = {field.name: index, **rest}
    message = dji_json.new_message(method.descriptor)
    assert dji_json.from_dict(payload, message) == []
    assert rules.violations(message) == []
    assert dji_json.to_data(message, method.spec.empty_data) == shown


def test_the_default_timeout_is_the_catalogues() -> None:
    """It stands twice, as the documents are made without the stubs."""
    assert schema.DEFAULT_TIMEOUT_SECONDS == catalogue.DEFAULT_TIMEOUT_SECONDS
