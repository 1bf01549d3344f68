"""``dockgate methods``."""

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dockgate_server.cli.options import AsJson, examples
from dockgate_server.cli.problem import from_refusal, usage

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from dockgate_server.codec.catalogue import Method
    from dockgate_server.docs.document import Document, Json

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
    fields = _fields(descriptor, "", within_optional=True, said={})
    beside = ("required", "meanings")
    return {
        "event": name,
        "devices": [str(one).lower() for one in render.to_json(spec).get("devices", [])],
        "reports_job_of": [link.command_type for link in catalogue.PROGRESS.get(name, ())],
        "fields": [{name: one[name] for name in one if name not in beside} for one in fields],
        "page": spec.page,
    }


def describe(method: "Method") -> dict[str, Any]:
    """All that the schema says about a method."""
    from buf.validate import validate_pb2
    from dockgate.dji.v1 import options_pb2
    from dockgate_server.cli import render
    from dockgate_server.docs import limits
    from dockgate_server.docs.schema import plain

    spec = render.to_json(method.spec)
    said = _document().payload(method.name)
    fields = _fields(method.descriptor, "", within_optional=False, said=said)
    rules = method.descriptor.GetOptions().Extensions[validate_pb2.message]
    return {
        "method": method.name,
        "description": said["description"],
        "channel": spec["channel"].lower(),
        "domain": spec["domain"].lower(),
        "devices": [str(device).lower() for device in spec.get("devices", [])],
        "answers": method.spec.reply != options_pb2.REPLY_KIND_NONE,
        "timeout_seconds": method.default_timeout_seconds,
        "starts_job": bool(method.progress),
        "always_starts_job": method.always_reports_a_job,
        "safe_to_repeat": method.spec.safe_to_repeat,
        "dangerous": method.spec.dangerous,
        "undone_by": method.spec.inverse or None,
        "required": [one["field"] for one in fields if one["required"]],
        "fields": fields,
        "rules": [_plainly(one) for one in limits.over_several_fields(plain(rules))],
        "page": method.spec.page,
    }


@functools.cache
def _document() -> "Document":
    import orjson

    from dockgate_server import docs
    from dockgate_server.docs.document import Document

    return Document(orjson.loads(docs.openapi_json()))


def _fields(
    descriptor: "Descriptor", path: str, *, within_optional: bool, said: "Json"
) -> "list[dict[str, Any]]":
    """The fields and theirs, each by its path; one within an optional part is not required."""
    from buf.validate import validate_pb2
    from dockgate_server.docs import limits
    from dockgate_server.docs.document import meanings
    from dockgate_server.docs.schema import plain

    found: list[dict[str, Any]] = []
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        required = rules.required and not within_optional
        name = f"{path}{field.name}"
        one: dict[str, Any] = {"field": name, "type": _type(field), "required": required}
        about = said.get("properties", {}).get(field.name, {})
        if limited := limits.words(plain(rules)):
            one["rules"] = [_plainly(words) for words in limited]
        if "description" in about:
            one["description"] = about["description"]
        if field.enum_type is not None:
            one["values"] = _values(field)
            told = meanings(about.get("items", about))
            one["meanings"] = {name: told.get(value, "") for name, value in one["values"].items()}
        found.append(one)
        if field.message_type is not None:
            inner = f"{name}.0." if field.is_repeated else f"{name}."
            optional = field.is_repeated or not required
            below = about.get("items", about)
            found += _fields(field.message_type, inner, within_optional=optional, said=below)
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
    typer.echo(f"method   {method['method']} ({method['domain']}, by {method['channel']})")
    typer.echo(f"devices  {', '.join(method['devices'])}")
    typer.echo(f"answer   {_answer(method)}")
    if method["dangerous"]:
        typer.echo("danger   it moves or destroys something: an API key needs the scope dangerous")
    if method["undone_by"]:
        typer.echo(f"undo     by {method['undone_by']}")
    typer.echo(f"page     {_DOCS}{method['page']}")
    for paragraph in method["description"].split("\n\n"):
        typer.echo("\n" + _wrapped(paragraph, ""))
    typer.echo("" if method["fields"] else "\nfields   none")
    for one in method["fields"]:
        facts = [one["type"], *(["required"] if one["required"] else []), *one.get("rules", ())]
        typer.echo(_wrapped(f"--{one['field']}  {', '.join(facts)}", "", "        "))
        if "description" in one:
            typer.echo(_wrapped(one["description"], "    "))
        for name, number in one.get("values", {}).items():
            means = f": {one['meanings'][name]}" if one["meanings"][name] else ""
            typer.echo(_wrapped(f"{number} {name}{means}", "    ", "      "))
    for rule in method["rules"]:
        typer.echo(_wrapped(rule, "", "    "))


def _answer(method: dict[str, Any]) -> str:
    if not method["answers"]:
        return "none; the command ends when it has been sent"
    job = ""
    if method["starts_job"]:
        follows = "follows" if method["always_starts_job"] else "may follow"
        job = f"; it means started, a job {follows}"
    return f"within {method['timeout_seconds']} s{job}"


def _wrapped(text: str, first: str, rest: str | None = None) -> str:
    """Text for the width of the terminal, words and options whole."""
    import shutil
    import textwrap

    if text.startswith("    "):
        return text  # an example, that is to stay as it is
    return textwrap.fill(
        text,
        width=min(shutil.get_terminal_size((100, 24)).columns, 100),
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _plainly(text: str) -> str:
    """Without the marks of Markdown around code."""
    return text.replace("`", "")


def _named(field: dict[str, Any]) -> str:
    """The values of an enum, with DJI's numbers."""
    return ", ".join(f"{number} {name}" for name, number in field.get("values", {}).items())
