"""From the comments of the schema to text that flows."""

import re

_LIST_ITEM = re.compile(r"([-*]|\d+\.) ")
_INDENT = "    "


def prose(comment: str) -> str:
    """A comment as Markdown: each paragraph on one line, indented lines kept as they are."""
    blocks: list[list[str]] = []
    flowing = False
    for line in comment.splitlines():
        line = line.removeprefix(" ").rstrip()
        item = bool(blocks) and bool(_LIST_ITEM.match(blocks[-1][-1]))
        indented = line.startswith("  ") and not (flowing and item)
        if indented and blocks and blocks[-1][0].startswith(_INDENT):
            blocks[-1].append(_INDENT + line.strip())
        elif indented:
            blocks.append([_INDENT + line.strip()])
        elif flowing and line and not _LIST_ITEM.match(line):
            blocks[-1][-1] += f" {line.strip()}"
        elif line:
            blocks.append([line])
        flowing = bool(line) and not indented
    return "\n\n".join("\n".join(block) for block in blocks)


def first_sentence(text: str) -> str:
    """The first sentence of a text."""
    paragraph = text.partition("\n\n")[0]
    end = re.search(r"(?<!e\.g)(?<!i\.e)\.(?=\s|$)", paragraph)
    return paragraph[: end.end()] if end else paragraph


def without_required(text: str) -> str:
    """A field's comment without the word that stands in a column of its own."""
    rest = re.sub(r"^Required[.;:,]?\s*", "", text)
    return rest[:1].upper() + rest[1:]
