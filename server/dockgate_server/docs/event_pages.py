"""The reference of what devices tell by themselves, as Markdown: an index, a page per domain."""

import json
from collections.abc import Iterator, Mapping, Sequence

from dockgate_server.docs import examples
from dockgate_server.docs.schema import VENDOR, Event, Schema
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


def pages(schema: Schema) -> dict[str, str]:
    """Every page by its name."""
    domains = by_domain(schema.events)
    found = {"README.md": "".join(_index(schema, domains))}
    for domain, events in domains.items():
        found[f"{domain}.md"] = "".join(_page(schema, domain, events))
    return found


def _index(schema: Schema, domains: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    yield f"{GENERATED}\n\n# Events\n\n"
    yield (
        f"The {len(schema.events)} events that dockgate knows, by domain: what devices tell by "
        "themselves on thing/product/{gateway_sn}/events. An event's name is the arm of "
        "`dockgate.dji.v1.Event` in `DeviceEvent.dji`, and what `dockgate events --method` takes. "
        "Events that are not listed are given as their device wrote them. Nothing of an "
        "event is checked: what a device writes otherwise is left out of its typed form. What can "
        "be sent is listed under [methods](../methods/README.md).\n"
    )
    for domain, events in domains.items():
        yield f"\n## [{domain}]({domain}.md)\n\n{_domain_text(schema, domain)}\n\n"
        yield "| event | devices | reports the job of | what it tells |\n|---|---|---|---|\n"
        for event in events:
            yield (
                f"| [{event.name}]({domain}.md#{event.name}) | {devices(event)} "
                f"| {_jobs(schema, event)} | {cell(summary(event))} |\n"
            )


def _page(schema: Schema, domain: str, events: Sequence[Event]) -> Iterator[str]:
    yield f"{GENERATED}\n\n# {domain}\n\n{_domain_text(schema, domain)}\n\n"
    yield "[All events](README.md)\n\n"
    yield from (f"- [{event.name}](#{event.name})\n" for event in events)
    for event in events:
        yield f"\n## {event.name}\n\n{escape(event.description)}\n\n| | |\n|---|---|\n"
        yield from (f"| {name} | {text} |\n" for name, text in _facts(schema, event))
        found = list(rows(event.fields, ""))
        yield "\n| field | type | meaning |\n|---|---|---|\n"
        yield from (f"| `{path}` | {type_of(one)} | {meaning(one)} |\n" for path, one in found)
        yield from values(found)
        yield "\nOn MQTT, for example:\n\n```json\n"
        yield json.dumps(examples.told(event), indent=2, ensure_ascii=False)
        yield "\n```\n"


def _facts(schema: Schema, event: Event) -> Iterator[tuple[str, str]]:
    yield "devices", devices(event)
    if jobs := _jobs(schema, event):
        yield "reports the job of", jobs
    yield "message", f"`{VENDOR}.{event.message}`, number {event.number}"
    if "page" in event.spec:
        yield "DJI's page", f"[{event.spec['page']}]({DJI_PAGES}{event.spec['page']})"


def _jobs(schema: Schema, event: Event) -> str:
    """The methods whose jobs it reports."""
    return ", ".join(
        f"[{method.name}](../methods/{method.domain}.md#{method.name})"
        for method in schema.methods
        if any(one["method"] == event.name for one in method.spec.get("progress", ()))
    )


def _domain_text(schema: Schema, domain: str) -> str:
    said = schema.comment(f"{VENDOR}.DOMAIN_{domain.upper()}")
    return escape(said) or "What belongs to no domain of methods."
