"""How many members a backup may have: a reader remembers their names. Writer and reader count alike.

So a backup that is made can be restored, and a small hostile file cannot fill a reader's memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.onebox.backup.entry import Entry, Kind

MAX_MEMBERS = 2_000_000
"""Folders above a member count, whether they are members or not."""


@dataclass
class Tally:
    """Of the members so far, in their order. ``folders``: also those that are only above one; ``names``: all, with them."""

    folders: set[str] = field(default_factory=set)
    names: int = 0

    def refusal(self) -> str:
        """Why no other member may follow; empty where one may."""
        return f"more than {MAX_MEMBERS} members" if self.names >= MAX_MEMBERS else ""

    def count(self, entry: Entry) -> None:
        """A name that is there twice, which a reader refuses, may count twice."""
        name = entry.name
        if entry.kind is not Kind.FOLDER:
            self.names += 1
            name = name.rpartition("/")[0]
        while name and name not in self.folders:
            self.folders.add(name)
            self.names += 1
            name = name.rpartition("/")[0]
