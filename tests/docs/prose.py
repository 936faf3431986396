"""What a page says beside its commands: links, and paths of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def complain_of_links(page: Path) -> Iterator[str]:
    """Links whose file or heading is not there; those of the web are no affair of ours."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        if "://" in target:
            continue
        path = page.parent / name if name else page
        if not path.is_file() or (anchor and anchor not in _anchors(path.read_text())):
            yield f"{page.name}: {target} leads nowhere"


def _anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paths(text: str, tops: set[str]) -> list[str]:
    """What stands in `backquotes` and begins with one of the folders ``tops``; commands in blocks are left out."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [word for word in re.findall(r"`([\w./-]+)`", prose) if word.partition("/")[0] in tops and "/" in word]
