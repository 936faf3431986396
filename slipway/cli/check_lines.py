"""Where in a file a field stands: a path as the API writes it → a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


def documents(text: str) -> list[yaml.Node]:
    """The tree of each object of a text that can be read, Lists unfolded, in order."""
    found: list[yaml.Node] = []
    for document in yaml.compose_all(text, Loader=yaml.CSafeLoader):
        if document is not None:
            found += _unfolded(document)
    return found


def _unfolded(document: yaml.Node) -> Iterator[yaml.Node]:
    items = value_of(document, "items")
    if scalar(document, "kind") == "List" and isinstance(items, yaml.SequenceNode):
        for item in items.value:
            yield from _unfolded(item)
    else:
        yield document


def scalar(node: yaml.Node, *path: str) -> str:
    """The text at a path of keys; empty where there is none."""
    found: yaml.Node | None = node
    for key in path:
        found = value_of(found, key)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else ""


def value_of(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pair = _pair(node, key)
    return pair[1] if pair else None


def _pair(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((name, value) for name, value in node.value if name.value == key), None)


def find_line(node: yaml.Node, path: str) -> tuple[int, int]:
    """(how many steps of ``path`` are there, the line of the last of them, from 1).

    ``[0]`` is an item of a list; of a mapping the key of that name, or, as Seldon's webhook writes graphs, a child.
    """
    steps = [match[1] if match[1] is not None else match[2] for match in STEP.finditer(path)]
    depth, line = 0, node.start_mark.line + 1
    for step in steps:
        mark, below = _step(node, step)
        if mark is None or below is None:
            break
        node, depth, line = below, depth + 1, mark.line + 1
    return depth, line


def _step(node: yaml.Node, step: str) -> tuple[yaml.Mark | None, yaml.Node | None]:
    if isinstance(node, yaml.SequenceNode):
        return _item(node, step)
    pair = _pair(node, step)
    if pair:
        return pair[0].start_mark, pair[1]
    children = value_of(node, "children")
    return _item(children, step) if isinstance(children, yaml.SequenceNode) else (None, None)


def _item(node: yaml.SequenceNode, step: str) -> tuple[yaml.Mark | None, yaml.Node | None]:
    if not step.isdigit() or int(step) >= len(node.value):
        return None, None
    item = node.value[int(step)]
    return item.start_mark, item
