"""Reading the OpenAPI document: what it says of a method, with the comments of the schema.

They do not travel with the stubs, so this is where a running program has them from.
"""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


class Document:
    """An OpenAPI document of the open API."""

    def __init__(self, document: Json) -> None:
        self._components: Json = document["components"]
        mapping = self._components["schemas"]["Submission"]["discriminator"]["mapping"]
        self.methods: dict[str, Json] = {
            name: self.resolved({"$ref": target}) for name, target in mapping.items()
        }
        """The schema of a submission of each command_type."""

    def payload(self, name: str) -> Json:
        """The schema of the payload of a command_type."""
        return self.resolved(self.methods[name]["properties"]["payload"])

    def resolved(self, schema: Json) -> Json:
        """What a reference leads to, with what stands beside it."""
        if "$ref" not in schema:
            return schema
        _, kind, name = schema["$ref"].removeprefix("#/").split("/")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        found: Json = self._components[kind][name]
        return {**found, **beside} if beside else found


def meanings(schema: Json) -> dict[int | str, str]:
    """What the values of an enum mean."""
    listed = next((one for one in schema.get("anyOf", ()) if "enum" in one), schema)
    if "x-enum-descriptions" not in listed:
        return {}
    return dict(zip(listed["enum"], listed["x-enum-descriptions"], strict=True))
