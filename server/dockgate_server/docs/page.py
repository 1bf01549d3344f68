"""The reference as pages, made from the OpenAPI document: plain HTML that asks nobody for anything.

No script: everything that could run would have to be trusted with what a reader has open beside
it, and none of the ready-made viewers shows 188 alternatives of one body in a way that helps.
"""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from markdown_it import MarkdownIt

from dockgate_server.docs.document import Document, Json, meanings
from dockgate_server.docs.reference import DOCUMENT, PAGES, STYLE

# Texts come from the schema; should one ever hold HTML, it is shown and not obeyed.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable(["link", "autolink", "image"])
_LIMITS = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "pattern {}"),
    ("x-rules", "{}"),
    ("default", "by default {}"),
    ("const", "always {}"),
)
_DANGEROUS = '<p class="warning">Needs the scope <code>open:command:dangerous</code>.</p>'
_SHARED = ("Accepted", "Command", "Job", "DeviceRequest", "DeviceRequestReply", "Error")


class Reference:
    """The pages of one OpenAPI document."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._components: Json = document["components"]
        self._read = Document(document)
        self._methods = self._read.methods

    @property
    def methods(self) -> tuple[str, ...]:
        """Every command_type that has a page."""
        return tuple(self._methods)

    def index(self) -> str:
        """The page that tells of everything and leads to the others."""
        info = self._document["info"]
        body = [
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            _text(info["description"]),
            f'<p>For programs: <a href="{DOCUMENT}"><code>{DOCUMENT}</code></a> (OpenAPI 3.1).</p>',
            "<nav>",
            *(
                f'<a href="#{anchor}">{title}</a>'
                for anchor, title in (
                    ("signature", "Signature"),
                    ("endpoints", "Endpoints"),
                    ("command-types", "Command types"),
                    ("schemas", "Schemas"),
                )
            ),
            "</nav>",
            *self._signature(),
            *self._endpoints(),
            *self._listed_methods(),
            '<h2 id="schemas">Schemas</h2>',
        ]
        for name in _SHARED:
            body += self._schema(name)
        return _page(str(info["title"]), body)

    def method(self, name: str) -> str:
        """The page of a command_type.

        Raises:
            KeyError: There is no such command_type.
        """
        command = self._methods[name]
        payload = self._read.payload(name)
        facts: Json = command.get("x-dji", {})
        body = [
            f'<p><a href="{PAGES}#command-types">All command types</a></p>',
            f"<h1><code>{escape(name)}</code></h1>",
            *([_DANGEROUS] if facts.get("dangerous") else []),
            *(["<p>Deprecated.</p>"] if command.get("deprecated") else []),
            _text(payload["description"]),
            *_facts(facts),
            "<h2>Payload</h2>",
            *self._fields(payload),
            "<h2>Example</h2>",
            _code(command["examples"][0]),
        ]
        if "reply" in facts:
            reply = self._read.resolved(facts["reply"])
            body += ["<h2>Answer</h2>", _text(reply["description"]), *self._fields(reply)]
        return _page(name, body)

    def _signature(self) -> Iterator[str]:
        yield '<h2 id="signature">Signature</h2>'
        yield "<p>Every request but those for this documentation carries these headers.</p><dl>"
        for scheme in self._components["securitySchemes"].values():
            yield f"<dt><code>{escape(scheme['name'])}</code></dt>"
            yield f"<dd>{_text(scheme['description'])}</dd>"
        yield "</dl>"

    def _endpoints(self) -> Iterator[str]:
        yield '<h2 id="endpoints">Endpoints</h2>'
        for path, operations in self._document["paths"].items():
            for method, operation in operations.items():
                if method == "head":
                    continue
                yield f"<h3><code>{method.upper()} {escape(path)}</code></h3>"
                yield _text(operation["summary"])
                yield _text(operation.get("description", ""))
                yield from self._parameters(operation["parameters"])
                yield "<table><tr><th>status</th><th>means</th><th>body</th></tr>"
                for status, answer in operation["responses"].items():
                    answer = self._read.resolved(answer)
                    name = _body_of(answer)
                    link = f'<a href="#{name}">{name}</a>' if name in _SHARED else escape(name)
                    meaning = _text(answer["description"])
                    yield f"<tr><td>{status}</td><td>{meaning}</td><td>{link}</td></tr>"
                yield "</table>"

    def _parameters(self, parameters: list[Json]) -> Iterator[str]:
        yield "<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>"
        for one in parameters:
            name, where, text = (escape(one[key]) for key in ("name", "in", "description"))
            needed = " (required)" if one["required"] else ""
            yield f"<tr><td><code>{name}</code></td><td>{where}{needed}</td><td>{text}</td></tr>"
        yield "</table>"

    def _listed_methods(self) -> Iterator[str]:
        yield '<h2 id="command-types">Command types</h2>'
        domains: dict[str, list[str]] = {}
        for name, command in self._methods.items():
            domains.setdefault(command.get("x-dji", {}).get("domain", "any"), []).append(name)
        for domain, names in domains.items():
            yield f"<h3>{escape(domain)}</h3><ul>"
            for name in names:
                command = self._methods[name]
                facts = command.get("x-dji", {})
                mark = " <strong>dangerous</strong>" if facts.get("dangerous") else ""
                yield (
                    f'<li><a href="{PAGES}/methods/{name}"><code>{name}</code></a>{mark}: '
                    f"{escape(command['description'])}</li>"
                )
            yield "</ul>"

    def _schema(self, name: str) -> Iterator[str]:
        schema = self._components["schemas"][name]
        yield f'<h3 id="{name}">{name}</h3>'
        yield _text(schema["description"])
        yield from self._fields(schema)
        for example in schema.get("examples", ()):
            yield _code(example)

    def _fields(self, schema: Json) -> Iterator[str]:
        rows = list(self._rows(schema, ""))
        if not rows:
            yield "<p>None.</p>"
            return
        yield "<table><tr><th>field</th><th>type</th><th>limits</th><th>meaning</th></tr>"
        for path, part, required in rows:
            kind = escape(_type(part)) + ("" if required else ", optional")
            limits = "; ".join(
                text.format(f"<code>{escape(_plain(part[key]))}</code>")
                for key, text in _LIMITS
                if key in part
            )
            meaning = _text(part.get("description", "")) + _choices(part)
            yield (
                f"<tr><td><code>{escape(path)}</code></td><td>{kind}</td>"
                f"<td>{limits}</td><td>{meaning}</td></tr>"
            )
        yield "</table>"

    def _rows(self, schema: Json, before: str) -> Iterator[tuple[str, Json, bool]]:
        """Every field at every depth, by its path."""
        for name, part in schema.get("properties", {}).items():
            part = self._read.resolved(part)
            path = f"{before}{name}"
            yield path, part, name in schema.get("required", ())
            inner = self._read.resolved(part.get("items", part))
            yield from self._rows(inner, f"{path}[]." if inner is not part else f"{path}.")


def _page(title: str, body: list[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{STYLE}"></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _text(markdown: str) -> str:
    """Markdown as HTML, with no links."""
    return str(_MARKDOWN.render(markdown))


def _code(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _type(schema: Json) -> str:
    kind = schema.get("type", "any")
    return kind if isinstance(kind, str) else " or ".join(kind)


def _choices(schema: Json) -> str:
    """What the values of an enum mean."""
    items = "".join(
        f"<li><code>{value}</code>: {escape(text)}</li>" for value, text in meanings(schema).items()
    )
    return f"<ul>{items}</ul>" if items else ""


def _facts(facts: Json) -> Iterator[str]:
    if not facts:
        return
    yield "<ul>"
    yield f"<li>Channel: {escape(facts['channel'])}</li>"
    if facts["devices"]:
        yield f"<li>Devices: {escape(', '.join(facts['devices']))}</li>"
    yield f"<li>Safe to repeat: {'yes' if facts['safe_to_repeat'] else 'no'}</li>"
    if "undone_by" in facts:
        yield f"<li>Undone by <code>{escape(facts['undone_by'])}</code></li>"
    yield "</ul>"


def _body_of(answer: Json) -> str:
    """The name of the schema of a response's body, or its type."""
    for content_type, content in answer.get("content", {}).items():
        schema: Json = content["schema"]
        reference = schema.get("$ref")
        return str(reference).rpartition("/")[2] if reference else str(content_type)
    return ""
