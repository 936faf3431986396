"""An OpenAPI document → one page that lists what it offers, with nothing to fetch from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;vertical-align:top}"
    "tr+tr{border-top:1px solid #ccc}code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow-x:auto}"
)


def render_page(document: Mapping[str, Any], *, document_url: str) -> str:
    """HTML: a row for every operation, the schemas behind them, a link to the document itself."""
    title = escape(str(document["info"]["title"]))
    rows = "".join(
        f"<tr><th>{escape(verb.upper())}</th><td><code>{escape(path)}</code></td>"
        f"<td>{escape(str(operation.get('summary') or operation.get('operationId') or ''))}</td></tr>"
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
    )
    schemas = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><table>{rows}</table><h2>Messages</h2>{schemas}"
        f'<p>OpenAPI {escape(str(document["openapi"]))}: <a href="{escape(document_url)}">{escape(document_url)}</a></p>'
        "</body></html>"
    )
