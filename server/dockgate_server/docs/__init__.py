"""What integrators read, made from the schema: the method reference and the OpenAPI document.

The schema is all there is to know about a method, its comments included, so nothing about a
method is written down here. Comments do not travel with the stubs: the documents are made by
``make docs`` from ``proto/`` and committed, and ``make check-docs`` proves that they are fresh.
"""

from importlib import resources


def openapi_json() -> bytes:
    """The OpenAPI document of the HTTP open API, as it is to be served."""
    return resources.files(__package__).joinpath("openapi.json").read_bytes()
