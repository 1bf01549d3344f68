"""The method reference as Markdown: an index, and a page for each domain."""

import json
from collections.abc import Iterator, Mapping, Sequence

from dockgate_server.docs import examples, limits
from dockgate_server.docs.schema import VENDOR, Method, Schema
from dockgate_server.docs.tables import (
    DJI_PAGES,
    GENERATED,
    by_domain,
    cell,
    devices,
    escape,
    meaning,
    rows,
    summary,
    type_of,
    values,
)

_CHANNELS = {"services": "services", "property_set": "property/set", "drc": "drc/down"}


def pages(schema: Schema) -> dict[str, str]:
    """Every page by its name."""
    domains = by_domain(schema.methods)
    found = {"README.md": "".join(_index(schema, domains))}
    for domain, methods in domains.items():
        found[f"{domain}.md"] = "".join(_page(schema, domain, methods))
    return found


def _index(schema: Schema, domains: Mapping[str, Sequence[Method]]) -> Iterator[str]:
    yield f"{GENERATED}\n\n# Methods\n\n"
    yield (
        f"The {len(schema.methods)} methods that dockgate sends, by domain. A method's name is the "
        "arm of `dockgate.dji.v1.Method` over gRPC, the `command_type` over HTTP, and the name "
        "that `dockgate submit` takes. A field that is required within an object is required "
        "where the object is given. What devices tell by themselves is listed under "
        "[events](../events/README.md).\n\n"
    )
    yield "| channel | topics |\n|---|---|\n"
    for value in schema.values(f"{VENDOR}.Channel")[1:]:
        channel = _CHANNELS.get(value.name.lower(), value.name.lower())
        yield f"| {channel} | {cell(value.comment)} |\n"
    yield "\n| device | |\n|---|---|\n"
    for value in schema.values(f"{VENDOR}.DeviceModel")[1:]:
        yield f"| {value.name.lower()} | {cell(value.comment)} |\n"
    for domain, methods in domains.items():
        yield f"\n## [{domain}]({domain}.md)\n\n{_domain_text(schema, domain)}\n\n"
        yield "| method | channel | devices | what it does |\n|---|---|---|---|\n"
        for method in methods:
            yield (
                f"| [{method.name}]({domain}.md#{method.name}) | {_channel(method)} "
                f"| {devices(method)} | {_marks(method)}{cell(summary(method))} |\n"
            )
    for method in schema.raw:
        yield f"\n## {method.name}\n\n{escape(method.description)}\n"
        yield from _fields(method)


def _page(schema: Schema, domain: str, methods: Sequence[Method]) -> Iterator[str]:
    yield f"{GENERATED}\n\n# {domain}\n\n{_domain_text(schema, domain)}\n\n"
    yield "[All methods](README.md)\n\n"
    yield from (f"- [{method.name}](#{method.name})\n" for method in methods)
    for method in methods:
        yield f"\n## {method.name}\n\n"
        if method.deprecated:
            yield "**Deprecated.** "
        yield f"{escape(method.description)}\n\n| | |\n|---|---|\n"
        yield from (f"| {name} | {text} |\n" for name, text in _facts(schema, method))
        yield from _fields(method)
        yield from _answer(method)
        yield from _example(method)


def _facts(schema: Schema, method: Method) -> Iterator[tuple[str, str]]:
    spec = method.spec
    channel = str(spec["channel"])
    topics = schema.comment(f"{VENDOR}.CHANNEL_{channel.upper()}")
    yield "channel", f"{_channel(method)}: {cell(topics)}"
    yield "devices", devices(method)
    if spec.get("reply") == "none":
        yield "answer", "none; the command ends when it has been sent"
    else:
        links = spec.get("progress", ())
        follows = "may follow" if all(one.get("may_stay_away") for one in links) else "follows"
        started = f"; it means started, a job {follows}" if links else ""
        seconds = f"{method.timeout_seconds} s"
        yield "answer", f"within {seconds} unless the caller says otherwise{started}"
    yield "safe to repeat", "yes" if spec.get("safe_to_repeat") else "no"
    if "inverse" in spec:
        yield "undone by", _link(schema, spec["inverse"])
    if "dangerous" in spec:
        yield "dangerous", "**yes**: needs the scope open:command:dangerous"
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
        name = event["method"]
        link = f"[`{name}`](../events/{schema.event(name).domain}.md#{name})"
        yield "progress", f"event {link}: {key} is {ours}"
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
    found = list(rows(method.fields, ""))
    yield "\n| field | type | required | range | meaning |\n|---|---|---|---|---|\n"
    for path, field in found:
        required = "yes" if field.required else ""
        said = ", ".join(cell(one) for one in limits.words(field.rules))
        yield f"| `{path}` | {type_of(field)} | {required} | {said} | {meaning(field)} |\n"
    rules = limits.over_several_fields(method.rules)
    if rules:
        yield "\nBeyond single fields:\n\n"
        yield from (f"- {escape(rule)}\n" for rule in rules)
    yield from values(found)


def _answer(method: Method) -> Iterator[str]:
    if not method.answer:
        return
    yield f"\n{escape(method.answer_description)}\n\n"
    yield "In the reply, beside its result:\n\n"
    found = list(rows(method.answer, ""))
    yield "| field | type | meaning |\n|---|---|---|\n"
    for path, field in found:
        yield f"| `{path}` | {type_of(field)} | {meaning(field)} |\n"
    yield from values(found)


def _example(method: Method) -> Iterator[str]:
    message = examples.message(method, examples.of(method))
    yield "\nOn MQTT, for example:\n\n```json\n"
    yield json.dumps(message, indent=2, ensure_ascii=False)
    yield "\n```\n"


def _domain_text(schema: Schema, domain: str) -> str:
    return escape(schema.comment(f"{VENDOR}.DOMAIN_{domain.upper()}"))


def _marks(method: Method) -> str:
    deprecated = "*deprecated* " if method.deprecated else ""
    return f"{deprecated}**dangerous** " if method.spec.get("dangerous") else deprecated


def _channel(method: Method) -> str:
    channel = str(method.spec["channel"])
    return _CHANNELS.get(channel, channel)
