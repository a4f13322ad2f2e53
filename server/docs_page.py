"""The page /docs: the OpenAPI document, for people to read."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote


def render_docs(schema: Mapping[str, Any]) -> str:
    """Return an HTML page that shows an OpenAPI document. The page loads nothing from other hosts."""
    sections = "".join(
        _render_operation(method, path, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    )
    return _PAGE.format(title=html.escape(schema["info"]["title"]), sections=sections)


def _render_operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    body = _json_body(operation)
    options = "".join(
        f"<li><code>{html.escape(name)}</code> {html.escape(description)}</li>"
        for name, description in [*_parameters(operation), *_fields(body)]
    )
    statuses = "".join(
        f"<li>{status} {html.escape(response.get('description', ''))}</li>"
        for status, response in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><b>{method.upper()}</b> <code>{html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation.get('summary', ''))}</p><ul>{options}</ul>"
        f"<pre>{html.escape(_example(method, path, operation, body))}</pre>"
        f"<details><summary>Statuses</summary><ul>{statuses}</ul></details></section>"
    )


def _json_body(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return schema and example of an operation's JSON body; empty if it has none."""
    body: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return body


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", []):
        yield parameter["name"], parameter.get("description", "")


def _fields(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and description of each field of a JSON body."""
    schema: Mapping[str, Any] = body.get("schema", {})
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        default = "" if name in required else f" Default: {json.dumps(field.get('default'))}."
        yield name, f"{field.get('description', field.get('type', ''))}.{default}"


def _example(method: str, path: str, operation: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Return a curl command that sends a request."""
    query = []
    for parameter in operation.get("parameters", []):
        value = quote(str(parameter.get("example", parameter["name"].upper())), safe="")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", value)
        elif "example" in parameter:
            query.append(f"{parameter['name']}={value}")
    address = f"$URL'{path}{'?' if query else ''}{'&'.join(query)}'"
    if method == "get":
        return f"curl {address}"
    return f"curl --json '{json.dumps(body.get('example', {}))}' {address}"


_PAGE = """<!doctype html> <html lang="en"><meta charset="utf-8"><meta name="viewport"
content="width=device-width"><title>{title}</title> <style> :root {{ color-scheme: light dark; font: 15px/1.5
system-ui, sans-serif }} body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1rem }} h2 {{ font-size:
1rem; margin: 1.6rem 0 0 }} p, ul {{ margin: .2rem 0 }} pre {{ margin: .3rem 0; overflow-x: auto }} details {{
opacity: .6 }} </style> <h1>{title}</h1><p>$URL is the address of this service. Complete description for
programs: <a href="openapi.json">openapi.json</a></p>{sections}</html>"""
