"""One Envoy as its publisher knows it: what it shall have, what it has not taken, and whether it says anything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.limits import APPLY_TIMEOUT_S, SILENT_QUESTIONS
from slipway.onebox.mesh.steps import LISTENERS_STAT

log = logging.getLogger(__name__)
POLL_S = 0.01


class Follower:
    """Resources are known by their stat names, and by versions.

    An Envoy that is not there will read the files when it starts: nobody waits for it. One that runs and says nothing is
    silent: nobody waits for it either until it answers ``listen``, and nobody may count on what it has.
    """

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._wanted: Mapping[str, str] = {}
        self._given_up: Mapping[str, str] = {}
        """What was not taken in time, which is not waited for a second time."""
        self._is_silent = False

    @property
    def has_routes(self) -> bool:
        """Whether it has, as far as anybody can know, the routes and clusters that were published.

        Listeners may be missing, for a port that another program holds: routes do not come with them.
        """
        lacking = self._given_up.items() & self._wanted.items()
        return not self._is_silent and all(name == LISTENERS_STAT for name, _ in lacking)

    def expect(self, versions: Mapping[str, str]) -> None:
        """From now on it shall have these, with what it shall have had before."""
        self._wanted = {**self._wanted, **versions}

    async def take(self, versions: Mapping[str, str], *, step: str) -> frozenset[str]:
        """Waits until it has these: the names of what it has not taken within APPLY_TIMEOUT_S."""
        expect = dict(versions.items() - self._given_up.items())
        deadline = time.monotonic() + APPLY_TIMEOUT_S
        while missing := await self._lacks(expect):
            if time.monotonic() > deadline:
                what = ", ".join(sorted(missing))
                text = "%s: %s has not taken %s within %s s: its log says why; what it had stays in use"
                log.error(text, step, self._name, what, APPLY_TIMEOUT_S)
                break
            await asyncio.sleep(POLL_S)
        settled = {name: version for name, version in self._given_up.items() if name not in expect}
        self._given_up = {**settled, **{name: expect[name] for name in missing}}
        return missing

    async def missing(self) -> frozenset[str]:
        """The names of what was published and it does not have."""
        missing = await self._lacks(self._wanted)
        self._given_up = {name: version for name, version in self._given_up.items() if name in missing}
        return missing

    async def listen(self) -> None:
        """Asks it where it is silent: whether it says something again, or is no more. What it has to read first is given up."""
        if self._is_silent:
            try:
                held = await self._admin.versions()
            except TimeoutError:
                return
            log.info("%s answers again", self._name)
            self._is_silent = False
            self._given_up = {name: self._wanted[name] for name in _lacking(self._wanted, held)}

    @property
    def _name(self) -> str:
        return self._admin.socket.stem

    async def _lacks(self, expect: Mapping[str, str]) -> frozenset[str]:
        """Nothing where nobody is there or nothing is said."""
        for _ in range(0 if self._is_silent else SILENT_QUESTIONS):
            try:
                held = await self._admin.versions()
            except TimeoutError:
                continue
            return _lacking(expect, held)
        if not self._is_silent:
            log.error("%s says nothing: until it does, nobody waits for it and no cluster is removed", self._name)
            self._is_silent = True
        return frozenset()


def _lacking(expect: Mapping[str, str], held: Mapping[str, str] | None) -> frozenset[str]:
    """``held``: None where nobody is there."""
    return frozenset() if held is None else frozenset(name for name in expect if held.get(name) != expect[name])
