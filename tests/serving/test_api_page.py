"""The page of an OpenAPI document."""

from __future__ import annotations

import re

from slipway.serving.api_page import render_page
from slipway.serving.v2_openapi import SCHEMAS, v2_openapi


def test_page_lists_every_operation_and_escapes_names():
    document = v2_openapi("<script>alert(1)</script>")
    page = render_page(document, document_url="a.json?x=1&y=2")
    assert "<script" not in page
    assert "a.json?x=1&amp;y=2" in page
    assert page.count("<tr>") == sum(len(operations) for operations in document["paths"].values())
    assert re.findall(r"<summary>(\w+)</summary>", page) == list(SCHEMAS)


def test_page_fetches_nothing():
    page = render_page(v2_openapi("x"), document_url="x.json")
    assert re.findall(r"src=|@import|url\(|<link|https?:", page) == []
