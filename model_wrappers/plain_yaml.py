"""YAML without surprises: every scalar is the text that stands there; no key twice, no aliases, little nesting.

Aliases make a short file as large as one likes, and PyYAML keeps the last of two equal keys without a word.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 8

Plain = str | list["Plain"] | dict[str, "Plain"]


def parse_plain(data: bytes, *, max_depth: int = MAX_DEPTH) -> Plain:
    """One document. Raises ``yaml.YAMLError`` naming line and column, or ``UnicodeDecodeError``."""
    loader = _Loader(data, max_depth)
    try:
        node = loader.get_single_node()
        document: Plain = loader.construct_document(node) if node is not None else ""
    finally:
        loader.dispose()
    return document


class _Loader(yaml.BaseLoader):  # type: ignore[misc]  # PyYAML is untyped
    """Safe: it makes texts, lists and mappings only."""

    def __init__(self, data: bytes, max_depth: int) -> None:
        super().__init__(data)
        self._depth, self._max_depth = 0, max_depth

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias is not possible here", event.start_mark)
        if self._depth == self._max_depth:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {self._max_depth}", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Plain]:
        names: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a text", key.start_mark)
            if key.value in names:
                raise yaml.constructor.ConstructorError(None, None, "this key stands twice", key.start_mark)
            names.add(key.value)
        mapping: dict[str, Plain] = super().construct_mapping(node, deep=deep)
        return mapping
