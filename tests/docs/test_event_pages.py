"""The reference of events says what the schema says."""

import json
import re

import pytest
from docs.conftest import EVENT_PAGES, PAGES
from docs.fields import walk

from dockgate.dji.v1 import event_pb2, options_pb2
from dockgate_server.codec import catalogue, device_events, dji_json

INDEX = (EVENT_PAGES / "README.md").read_text(encoding="utf-8")


def test_every_event_has_a_section_and_a_line_of_the_index(event_sections: dict[str, str]) -> None:
    """And nothing else has."""
    assert set(event_sections) == set(catalogue.EVENTS)
    lines = re.findall(r"^\| \[(\w+)\]\((\w+)\.md#(\w+)\) \|", INDEX, re.MULTILINE)
    assert {name for name, _, _ in lines} == set(catalogue.EVENTS)
    for name, page, anchor in lines:
        assert name == anchor
        text = (EVENT_PAGES / f"{page}.md").read_text(encoding="utf-8")
        assert f"\n## {name}\n" in text


@pytest.mark.parametrize("folder", [PAGES, EVENT_PAGES], ids=lambda folder: folder.name)
def test_every_link_between_the_pages_leads_somewhere(folder: object) -> None:
    """To a section that there is, on the page that is named."""
    checked = 0
    for page in (*PAGES.glob("*.md"), *EVENT_PAGES.glob("*.md")):
        if page.parent != folder:
            continue
        text = page.read_text(encoding="utf-8")
        for file, anchor in re.findall(r"\]\(([\w./]+\.md)#(\w+)\)", text):
            there = (page.parent / file).resolve()
            assert f"\n## {anchor}\n" in there.read_text(encoding="utf-8"), (page, file, anchor)
            checked += 1
    assert checked > 40


def test_a_page_shows_exactly_the_fields_of_an_event(event_sections: dict[str, str]) -> None:
    """At every depth, and the values of its enums with DJI's numbers."""
    for name, descriptor in catalogue.EVENTS.items():
        fields = dict(walk(descriptor))
        text = event_sections[name]
        assert re.findall(r"^\| `([^`]+)` \| ", text, re.MULTILINE) == list(fields), name
        for path, field in fields.items():
            if field.enum_type is not None:
                listed = text.partition(f"\nValues of `{path}`;")[2].partition("\n\n")[2]
                numbers = re.findall(r"^- (-?\d+) `", listed.partition("\n\n")[0], re.MULTILINE)
                assert [int(one) for one in numbers] == [
                    one.number for one in field.enum_type.values
                ], (name, path)


def test_a_page_tells_who_tells_an_event_and_of_which_job(event_sections: dict[str, str]) -> None:
    """And where DJI describes it."""
    for name, descriptor in catalogue.EVENTS.items():
        spec = descriptor.GetOptions().Extensions[options_pb2.event_spec]
        text = event_sections[name]
        assert (f"/{spec.page})" in text) == bool(spec.page)
        for device in spec.devices:
            word = options_pb2.DeviceModel.Name(device).removeprefix("DEVICE_MODEL_").lower()
            assert re.search(rf"\| devices \|[^\n]*\b{word}\b", text), (name, word)
        jobs = re.findall(r"^\| reports the job of \| (.*) \|$", text, re.MULTILINE)
        methods = re.findall(r"\[(\w+)\]\(\.\./methods/", " ".join(jobs))
        reported = [link.command_type for link in catalogue.PROGRESS.get(name, ())]
        assert sorted(methods) == sorted(reported), name


@pytest.mark.parametrize("name", catalogue.EVENTS)
def test_an_example_is_an_event_that_the_gateway_understands_whole(
    name: str, event_sections: dict[str, str]
) -> None:
    """Every member that is shown is read, and every field that is not going out of use is shown."""
    (text,) = re.findall(r"```json\n(.*?)\n```", event_sections[name], re.DOTALL)
    shown = json.loads(text)
    assert shown["method"] == name
    read = event_pb2.Event()
    device_events.fill(name, shown["data"], read)
    again = dji_json.to_dict(getattr(read, name))
    if isinstance(shown["data"], list):
        (again,) = again.values()
    assert again == shown["data"]
