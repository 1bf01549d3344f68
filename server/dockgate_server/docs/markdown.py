"""The method reference as Markdown: an index, and a page for each domain."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from dockgate_server.docs import comments, examples, limits
from dockgate_server.docs.schema import VENDOR, Field, Method, Schema

DJI_PAGES = "https://developer.dji.com/doc/cloud-api-tutorial/en/api-reference/"
_GENERATED = "<!-- Made from proto/ by `make docs`; do not edit. -->"
_CHANNELS = {"services": "services", "property_set": "property/set", "drc": "drc/down"}
_TYPES = {"json": "object of any form"}
_SPECIAL = re.compile(r"([|<>*\[\]]|(?<!\w)_|_(?!\w))")
_CODE = re.compile(r"(`[^`]*`)")


def pages(schema: Schema) -> dict[str, str]:
    """Every page by its name."""
    domains = _by_domain(schema)
    found = {"README.md": "".join(_index(schema, domains))}
    for domain, methods in domains.items():
        found[f"{domain}.md"] = "".join(_page(schema, domain, methods))
    return found


def _by_domain(schema: Schema) -> dict[str, list[Method]]:
    """The methods of each domain, both in the order of their numbers."""
    ordered = sorted(schema.methods, key=lambda method: method.number)
    groups = itertools.groupby(ordered, key=lambda method: method.domain)
    return {domain: list(methods) for domain, methods in groups}


def _index(schema: Schema, domains: Mapping[str, Sequence[Method]]) -> Iterator[str]:
    yield f"{_GENERATED}\n\n# Methods\n\n"
    yield (
        f"The {len(schema.methods)} methods that dockgate sends, by domain. A method's name is the "
        "arm of `dockgate.dji.v1.Method` over gRPC, the `command_type` over HTTP, and the name "
        "that `dockgate submit` takes. A field that is required within an object is required "
        "where the object is given.\n\n"
    )
    yield "| channel | topics |\n|---|---|\n"
    for value in schema.values(f"{VENDOR}.Channel")[1:]:
        channel = _CHANNELS.get(value.name.lower(), value.name.lower())
        yield f"| {channel} | {_cell(value.comment)} |\n"
    yield "\n| device | |\n|---|---|\n"
    for value in schema.values(f"{VENDOR}.DeviceModel")[1:]:
        yield f"| {value.name.lower()} | {_cell(value.comment)} |\n"
    for domain, methods in domains.items():
        yield f"\n## [{domain}]({domain}.md)\n\n{_domain_text(schema, domain)}\n\n"
        yield "| method | channel | devices | what it does |\n|---|---|---|---|\n"
        for method in methods:
            yield (
                f"| [{method.name}]({domain}.md#{method.name}) | {_channel(method)} "
                f"| {_devices(method)} | {_marks(method)}{_cell(_summary(method))} |\n"
            )
    for method in schema.raw:
        yield f"\n## {method.name}\n\n{_escape(method.description)}\n"
        yield from _fields(method)


def _page(schema: Schema, domain: str, methods: Sequence[Method]) -> Iterator[str]:
    yield f"{_GENERATED}\n\n# {domain}\n\n{_domain_text(schema, domain)}\n\n"
    yield "[All methods](README.md)\n\n"
    yield from (f"- [{method.name}](#{method.name})\n" for method in methods)
    for method in methods:
        yield f"\n## {method.name}\n\n"
        if method.deprecated:
            yield "**Deprecated.** "
        yield f"{_escape(method.description)}\n\n| | |\n|---|---|\n"
        yield from (f"| {name} | {text} |\n" for name, text in _facts(schema, method))
        yield from _fields(method)
        yield from _answer(method)
        yield from _example(method)


def _facts(schema: Schema, method: Method) -> Iterator[tuple[str, str]]:
    spec = method.spec
    channel = str(spec["channel"])
    topics = schema.comment(f"{VENDOR}.CHANNEL_{channel.upper()}")
    yield "channel", f"{_channel(method)}: {_cell(topics)}"
    yield "devices", _devices(method)
    if spec.get("reply") == "none":
        yield "answer", "none; the command ends when it has been sent"
    else:
        started = "; it means started, a job follows" if spec.get("progress") else ""
        seconds = f"{method.timeout_seconds} s"
        yield "answer", f"within {seconds} unless the caller says otherwise{started}"
    yield "safe to repeat", "yes" if spec.get("safe_to_repeat") else "no"
    if "inverse" in spec:
        yield "undone by", _link(schema, spec["inverse"])
    if "dangerous" in spec:
        yield "dangerous", "**yes**: needs a permission of its own"
    if "overtakes" in spec:
        yield "overtakes", "yes: it does not wait behind other commands"
    if "control_stream" in spec:
        yield "control stream", "yes: sent at a rate, outdated after 1 s, never queued"
    if channel == "drc":
        text = "beside `data`" if spec.get("seq") == "top_level" else "none"
        yield "sequence number", text
    for event in spec.get("progress", ()):
        key = "the bid" if event["event_key"] == "bid" else f"`{event['event_key']}`"
        ours = "the command's id"
        if "request_field" in event:
            ours = f"the `{event['request_field']}` of the command"
        yield "progress", f"event `{event['method']}`: {key} is {ours}"
    if not method.fields:
        yield "data", "null" if spec.get("empty_data") == "null" else "{}"
    yield "message", f"`{VENDOR}.{method.message}`, number {method.number}"
    if "page" in spec:
        yield "DJI's page", f"[{spec['page']}]({DJI_PAGES}{spec['page']})"


def _link(schema: Schema, name: str) -> str:
    """The section of a method, on whichever page it stands."""
    domains = {method.name: method.domain for method in schema.methods}
    return f"[{name}]({domains[name]}.md#{name})"


def _fields(method: Method) -> Iterator[str]:
    if not method.fields:
        yield "\nNo fields.\n"
        return
    rows = list(_rows(method.fields, ""))
    yield "\n| field | type | required | range | meaning |\n|---|---|---|---|---|\n"
    for path, field in rows:
        required = "yes" if field.required else ""
        said = ", ".join(_cell(one) for one in limits.words(field.rules))
        yield f"| `{path}` | {_type(field)} | {required} | {said} | {_meaning(field)} |\n"
    rules = limits.over_several_fields(method.rules)
    if rules:
        yield "\nBeyond single fields:\n\n"
        yield from (f"- {_escape(rule)}\n" for rule in rules)
    yield from _values(rows)


def _values(rows: Sequence[tuple[str, Field]]) -> Iterator[str]:
    for path, field in rows:
        if field.values:
            yield f"\nValues of `{path}`; other numbers are passed on:\n\n"
            for value in field.values:
                yield f"- {value.number} `{value.name}`: {_cell(value.comment)}\n"


def _answer(method: Method) -> Iterator[str]:
    if not method.answer:
        return
    yield f"\n{_escape(method.answer_description)}\n\n"
    yield "In the reply, beside its result:\n\n"
    rows = list(_rows(method.answer, ""))
    yield "| field | type | meaning |\n|---|---|---|\n"
    for path, field in rows:
        yield f"| `{path}` | {_type(field)} | {_meaning(field)} |\n"
    yield from _values(rows)


def _example(method: Method) -> Iterator[str]:
    message = examples.message(method, examples.of(method))
    yield "\nOn MQTT, for example:\n\n```json\n"
    yield json.dumps(message, indent=2, ensure_ascii=False)
    yield "\n```\n"


def _rows(fields: Sequence[Field], prefix: str) -> Iterator[tuple[str, Field]]:
    """The fields and theirs, each by its path."""
    for field in fields:
        path = f"{prefix}{field.name}{'[]' if field.repeated else ''}"
        yield path, field
        yield from _rows(field.parts, f"{path}.")


def _type(field: Field) -> str:
    name = "enum" if field.values else _TYPES.get(field.type, field.type)
    if field.type == "integer" and field.bits != 32 and not field.values:
        name = f"integer ({field.bits} bits)"
    return f"list of {name}" if field.repeated else name


def _meaning(field: Field) -> str:
    marks = []
    if field.deprecated:
        marks.append("**Deprecated.**")
    if field.secret:
        marks.append("**Secret.**")
    if field.wire.get("payload_index_key") and "the key" not in field.comment:
        marks.append("On the wire the key under which the other fields stand.")
    if field.wire.get("wire_form") == "bool_as_int" and "0 or 1" not in field.comment:
        marks.append("Travels as 0 or 1.")
    return " ".join([_cell(comments.without_required(field.comment)), *marks]).strip()


def _domain_text(schema: Schema, domain: str) -> str:
    return _escape(schema.comment(f"{VENDOR}.DOMAIN_{domain.upper()}"))


def _summary(method: Method) -> str:
    return method.summary or comments.first_sentence(method.description)


def _marks(method: Method) -> str:
    deprecated = "*deprecated* " if method.deprecated else ""
    return f"{deprecated}**dangerous** " if method.spec.get("dangerous") else deprecated


def _channel(method: Method) -> str:
    channel = str(method.spec["channel"])
    return _CHANNELS.get(channel, channel)


def _devices(method: Method) -> str:
    return ", ".join(method.spec.get("devices", ())) or "see text"


def _escape(text: str) -> str:
    """Text that is not meant as Markdown, apart from code and indented lines."""
    lines = []
    for line in text.split("\n"):
        parts = [line] if line.startswith("    ") else _CODE.split(line)
        outside = [
            part if part.startswith(("`", "    ")) else _SPECIAL.sub(r"\\\1", part)
            for part in parts
        ]
        lines.append("".join(outside))
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text within a table or a list: one line, and no bars of its own."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(
        part.replace("|", "\\|") if part.startswith("`") else _SPECIAL.sub(r"\\\1", part)
        for part in parts
    )
