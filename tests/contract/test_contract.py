"""The schema holds what DJI's documents say, and every exception is a line with its reason."""

import re
from pathlib import Path

import pytest
from contract import facts, schema
from contract.facts import Facts
from google.protobuf.descriptor import Descriptor

from dockgate.dji.v1 import options_pb2
from dockgate_server.codec import catalogue

EXCEPTIONS = Path(__file__).parent / "exceptions.txt"
LINE = re.compile(r"(?P<path>[a-z0-9_.]+): (?P<what>.+?) — (?P<reason>.{8,})")
SECRET = re.compile(r"secret|token|password|access_key|license$|app_key|credential_value")


def read_exceptions(text: str) -> dict[str, str]:
    """The reason of each exception, by ``path: what``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            parts = LINE.fullmatch(line)
            assert parts, f"not `method.path: what — reason`: {line}"
            key = f"{parts['path']}: {parts['what']}"
            assert key not in found, f"twice: {key}"
            found[key] = parts["reason"]
    return found


def differences(documented: Facts, written: Facts) -> dict[str, str]:
    """What the schema says otherwise than the documents, and what these say."""
    found: dict[str, str] = {}
    for path, said in documented.items():
        if path in written:
            for aspect in said.keys() | written[path].keys():
                here, there = written[path].get(aspect, "none"), said.get(aspect, "none")
                if here != there:
                    found[f"{path}: {aspect} {here}"] = f"the documents: {there}"
        elif path.rpartition(".")[0] in written:  # what is below an absent field is absent too
            found[f"{path}: absent"] = "the documents have it"
    for path in written.keys() - documented.keys():
        found[f"{path}: added"] = "no document has it"
    return found


FOUND = {
    key: documents
    for method in facts.METHODS
    if method["method"] in catalogue.METHODS
    for key, documents in differences(
        facts.method_facts(method), schema.method_facts(catalogue.METHODS[method["method"]])
    ).items()
} | {
    key: documents
    for event in facts.EVENTS
    if event["event"] in catalogue.EVENTS
    for key, documents in differences(
        facts.event_facts(event), schema.event_facts(event["event"])
    ).items()
}
EXPLAINED = read_exceptions(EXCEPTIONS.read_text(encoding="utf-8"))


def test_the_schema_has_every_documented_method() -> None:
    """99 services, 68 on drc/down, 20 writable properties. What DJI adds later has no facts."""
    channels = [method["channel"] for method in facts.METHODS]
    assert {name: channels.count(name) for name in channels} == {
        "services": 99,
        "drc_down": 68,
        "property_set": 20,
    }
    documented = {method["method"] for method in facts.METHODS}
    assert len(documented) == 187
    assert documented - catalogue.METHODS.keys() == set()


def test_the_schema_has_every_documented_event() -> None:
    """43 of DJI's pages, and one of DJI's Java SDK."""
    documented = {event["event"] for event in facts.EVENTS}
    assert len(documented) == 44
    assert documented - catalogue.EVENTS.keys() == set()


def test_every_difference_from_the_documents_has_a_reason() -> None:
    """A line in exceptions.txt: `method.path: what — reason`, where `what` is what is said here."""
    assert {key: there for key, there in FOUND.items() if key not in EXPLAINED} == {}


def test_every_exception_is_needed() -> None:
    """A line that explains no difference is out of date."""
    assert [key for key in EXPLAINED if key not in FOUND] == []


@pytest.mark.parametrize(
    ("documented", "written", "found"),
    [
        ({"m.f": {"type": "int32"}}, {"m.f": {"type": "int32"}}, []),
        ({"m.f": {"type": "int32"}}, {"m.f": {"type": "int64"}}, ["m.f: type int64"]),
        ({"m.f": {"range": "1..2"}}, {"m.f": {}}, ["m.f: range none"]),
        ({"m.f": {}}, {"m.f": {"cel": "this > 0"}}, ["m.f: cel this > 0"]),
        ({"m": {}, "m.f": {}, "m.f.g": {}}, {"m": {}}, ["m.f: absent"]),
        ({"m": {}}, {"m": {}, "m.f": {}}, ["m.f: added"]),
    ],
)
def test_a_difference_is_found(documented: Facts, written: Facts, found: list[str]) -> None:
    """The comparison itself can be trusted."""
    assert list(differences(documented, written)) == found


def test_what_ties_a_job_to_its_command_is_in_the_event() -> None:
    """The envelope's bid, or a member that the event's documents name."""
    for method in facts.METHODS:
        for event in catalogue.METHODS[method["method"]].spec.progress:
            members = method["progress"][event.method]
            assert event.event_key in ("bid", *members), method["method"]


def test_pages_are_those_of_the_method() -> None:
    """The documentation page that a method names is one that describes it."""
    for method in facts.METHODS:
        page = Path(catalogue.METHODS[method["method"]].spec.page)
        assert page.suffix == ".html"
        if "pages" in method:
            assert page.stem in method["pages"], method["method"]
        else:
            assert page.stem.endswith("properties"), method["method"]


def test_pages_are_those_of_the_event() -> None:
    """All but the one that no page describes."""
    for event in facts.EVENTS:
        options = catalogue.EVENTS[event["event"]].GetOptions()
        page = Path(options.Extensions[options_pb2.event_spec].page)
        assert page.stem in (event["pages"] or [""]), event["event"]


def test_secrets_are_redacted() -> None:
    """Everything whose name says that it is a secret."""
    shown = {
        f"{method.name}: {field.full_name}"
        for method in catalogue.METHODS.values()
        for field in schema.walk(method.descriptor)
        if SECRET.search(field.name) and not field.message_type
        if not field.GetOptions().debug_redact
    }
    assert shown == set()


COMMENTS = schema.comments()
ALL = [
    message
    for method in catalogue.METHODS.values()
    for message in (method.descriptor, catalogue.REPLIES.get(method.name))
    if message is not None
] + list(catalogue.EVENTS.values())


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.name)
def test_everything_is_explained(message: Descriptor) -> None:
    """Message, fields, enums and their values; a required field says so first."""
    assert COMMENTS[message.name]
    for field in schema.walk(message):
        comment = COMMENTS[schema.short(field)]
        assert comment, field.full_name
        if not schema.is_sent_when_empty(field):  # given or not is all the same on the wire
            says_required = comment.startswith(("Required.", "Required;"))
            assert says_required == schema.is_required(field), field.full_name
        for value in field.enum_type.values if field.enum_type else ():
            name = f"{schema.short(value.type)}.{value.name}"
            assert COMMENTS[name], name


def _words(
    fields: list[dict[str, object]], message: Descriptor, *, with_ranges: bool = False
) -> dict[str, list[str]]:
    """What the comments of the fields lack."""
    lacking: dict[str, list[str]] = {}
    for said in fields:
        field = message.fields_by_name.get(str(said["name"]))
        if field is not None:
            comment = COMMENTS[schema.short(field)]
            wanted = facts.documented_words(said)
            wanted += facts.documented_range(said) if with_ranges else []
            words = [one for one in wanted if not re.search(one, comment)]
            if words:
                lacking[schema.short(field)] = words
            if field.message_type is not None:
                parts = said.get("fields", [])
                lacking.update(_words(parts, field.message_type, with_ranges=with_ranges))  # type: ignore[arg-type]
    return lacking


def test_comments_name_the_unit_and_the_values_that_nothing_enforces() -> None:
    """In requests and replies; in events, of which nothing is enforced, also the ranges."""
    lacking: dict[str, list[str]] = {}
    for method in facts.METHODS:
        known = catalogue.METHODS[method["method"]]
        lacking.update(_words(method["fields"], known.descriptor))
        reply = catalogue.REPLIES.get(known.name)
        if reply is not None:
            lacking.update(_words(method["reply"], reply))
    for event in facts.EVENTS:
        message = catalogue.EVENTS[event["event"]]
        lacking.update(_words(facts.event_fields(event), message, with_ranges=True))
    assert lacking == {}
