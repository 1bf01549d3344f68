"""``dockgate methods``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dockgate_server.cli.options import AsJson, examples
from dockgate_server.cli.problem import from_refusal, usage

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from dockgate_server.codec.catalogue import Method

EXAMPLES = examples(
    "dockgate methods",
    "dockgate methods flighttask_prepare",
    "dockgate methods --events flighttask_progress",
)
_DOCS = "https://developer.dji.com/doc/cloud-api-tutorial/en/api-reference/"


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="METHOD", help="Show this method with all its fields.", show_default=False
        ),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="The same for the events that devices tell.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the methods that can be sent, or show one with its fields."""
    from dockgate_server.cli import render
    from dockgate_server.codec import catalogue
    from dockgate_server.errors import DockgateError

    if events:
        _events(name, as_json=as_json)
        return
    if name in catalogue.EVENTS and name not in catalogue.METHODS:
        raise usage(f"{name} is an event: dockgate methods --events {name}")
    try:
        chosen = [catalogue.find(name)] if name else list(catalogue.METHODS.values())
    except DockgateError as refusal:
        raise from_refusal(refusal) from None
    described = [describe(method) for method in chosen]
    if as_json:
        for one in described:
            render.print_json(one)
    elif name:
        _show_one(described[0])
    else:
        _show_all(described)


def _events(name: str | None, *, as_json: bool) -> None:
    import difflib

    from dockgate_server.cli import render, table
    from dockgate_server.codec import catalogue

    if name and name not in catalogue.EVENTS:
        close = difflib.get_close_matches(name, catalogue.EVENTS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise usage(f"there is no event {name!r} that the schema knows{hint}")
    described = [describe_event(one) for one in ([name] if name else catalogue.EVENTS)]
    if as_json:
        for one in described:
            render.print_json(one)
    elif name:
        (event,) = described
        typer.echo(f"event    {name}")
        typer.echo(f"devices  {', '.join(event['devices'])}")
        if event["reports_job_of"]:
            typer.echo(f"reports  the job of {', '.join(event['reports_job_of'])}")
        if event["page"]:
            typer.echo(f"page     {_DOCS}{event['page']}")
        typer.echo("")
        rows = [[one["field"], one["type"], _named(one)] for one in event["fields"]]
        table.show(("FIELD", "TYPE", "VALUES"), rows)
    else:
        rows = [
            [one["event"], ", ".join(one["devices"]), ", ".join(one["reports_job_of"]) or "-"]
            for one in described
        ]
        table.show(("EVENT", "DEVICES", "REPORTS THE JOB OF"), rows, ("EVENT",))


def describe_event(name: str) -> dict[str, Any]:
    """All that the schema says about an event."""
    from dockgate.dji.v1 import options_pb2
    from dockgate_server.cli import render
    from dockgate_server.codec import catalogue

    descriptor = catalogue.EVENTS[name]
    spec = descriptor.GetOptions().Extensions[options_pb2.event_spec]
    fields = _fields(descriptor, "", within_optional=True)
    return {
        "event": name,
        "devices": [str(one).lower() for one in render.to_json(spec).get("devices", [])],
        "reports_job_of": [link.command_type for link in catalogue.PROGRESS.get(name, ())],
        "fields": [{key: one[key] for key in one if key != "required"} for one in fields],
        "page": spec.page,
    }


def describe(method: "Method") -> dict[str, Any]:
    """All that the schema says about a method."""
    from dockgate_server.cli import render

    spec = render.to_json(method.spec)
    fields = list(_fields(method.descriptor, "", within_optional=False))
    return {
        "method": method.name,
        "channel": spec["channel"].lower(),
        "domain": spec["domain"].lower(),
        "devices": [str(device).lower() for device in spec.get("devices", [])],
        "timeout_seconds": method.default_timeout_seconds,
        "starts_job": bool(method.progress),
        "safe_to_repeat": method.spec.safe_to_repeat,
        "dangerous": method.spec.dangerous,
        "undone_by": method.spec.inverse or None,
        "required": [one["field"] for one in fields if one["required"]],
        "fields": fields,
        "page": method.spec.page,
    }


def _fields(
    descriptor: "Descriptor", path: str, *, within_optional: bool
) -> "list[dict[str, Any]]":
    """The fields and theirs, each by its path; one within an optional part is not required."""
    from buf.validate import validate_pb2

    found: list[dict[str, Any]] = []
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        required = rules.required and not within_optional
        name = f"{path}{field.name}"
        one = {"field": name, "type": _type(field), "required": required}
        if field.enum_type is not None:
            one["values"] = _values(field)
        found.append(one)
        if field.message_type is not None:
            inner = f"{name}.0." if field.is_repeated else f"{name}."
            optional = field.is_repeated or not required
            found += _fields(field.message_type, inner, within_optional=optional)
    return found


def _type(field: "FieldDescriptor") -> str:
    names = {
        field.CPPTYPE_STRING: "text",
        field.CPPTYPE_BOOL: "bool",
        field.CPPTYPE_DOUBLE: "number",
        field.CPPTYPE_MESSAGE: "object",
    }
    name = names.get(field.cpp_type, "integer")
    return f"list of {name}" if field.is_repeated else name


def _values(field: "FieldDescriptor") -> dict[str, int]:
    from dockgate_server.codec import enums

    assert field.enum_type is not None
    return {name: number for number, name in enums.names(field.enum_type).items()}


def _show_all(described: list[dict[str, Any]]) -> None:
    from dockgate_server.cli import table

    rows = [
        [
            one["method"],
            one["channel"],
            one["domain"],
            ", ".join(one["devices"]),
            # Those within them are for the view of the one method.
            ", ".join(name for name in one["required"] if "." not in name) or "-",
        ]
        for one in described
    ]
    table.show(("METHOD", "CHANNEL", "DOMAIN", "DEVICES", "REQUIRED FIELDS"), rows, ("METHOD",))


def _show_one(method: dict[str, Any]) -> None:
    from dockgate_server.cli import table

    job = "; the answer means started, a job follows" if method["starts_job"] else ""
    typer.echo(f"method   {method['method']} ({method['domain']}, by {method['channel']})")
    typer.echo(f"devices  {', '.join(method['devices'])}")
    typer.echo(f"answer   within {method['timeout_seconds']} s{job}")
    if method["dangerous"]:
        typer.echo("danger   it moves or destroys something: an API key needs the scope dangerous")
    if method["undone_by"]:
        typer.echo(f"undo     by {method['undone_by']}")
    typer.echo(f"page     {_DOCS}{method['page']}")
    if not method["fields"]:
        typer.echo("fields   none")
        return
    rows = [
        [
            f"--{one['field']}",
            one["type"],
            "required" if one["required"] else "",
            _named(one),
        ]
        for one in method["fields"]
    ]
    typer.echo("")
    table.show(("FIELD", "TYPE", "", "VALUES"), rows)


def _named(field: dict[str, Any]) -> str:
    """The values of an enum, with DJI's numbers."""
    return ", ".join(f"{number} {name}" for name, number in field.get("values", {}).items())
