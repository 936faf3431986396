"""How many members a backup may have: a reader remembers their names. Writer and reader count alike.

So a backup that is made can be restored, and a small hostile file cannot fill a reader's memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.onebox.backup.entry import Entry, Kind

MAX_MEMBERS = 2_000_000
"""Folders above a member count, whether they are members or not."""
MAX_NAMES_BYTES = 1 << 28
"""Of all names and links' targets, in UTF-8; 134 for each of MAX_MEMBERS. In memory a byte takes four at most."""
MEBIBYTE = 1 << 20


@dataclass
class Tally:
    """Of the members so far, in their order. ``folders``: also those that are only above one; ``names``: all, with them.

    ``members`` is what ``tar -t`` would list.
    """

    folders: set[str] = field(default_factory=set)
    members: int = 0
    names: int = 0
    names_bytes: int = 0

    def refusal(self) -> str:
        """Why no other member may follow; empty where one may."""
        if self.names >= MAX_MEMBERS:
            return f"more than {MAX_MEMBERS} members"
        if self.names_bytes >= MAX_NAMES_BYTES:
            return f"more than {MAX_NAMES_BYTES // MEBIBYTE} MiB of names"
        return ""

    def count(self, entry: Entry) -> None:
        """A name that is there twice, which a reader refuses, may count twice."""
        self.members += 1
        name = entry.name
        if entry.kind is not Kind.FOLDER:
            self._count_texts(name, entry.target)
            name = name.rpartition("/")[0]
        while name and name not in self.folders:
            self.folders.add(name)
            self._count_texts(name)
            name = name.rpartition("/")[0]

    def _count_texts(self, name: str, target: str = "") -> None:
        self.names += 1
        self.names_bytes += sum(len(text.encode("utf-8", "surrogateescape")) for text in (name, target))
