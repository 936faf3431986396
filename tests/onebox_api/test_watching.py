"""What a watch tells when its end and a write come in one moment: who goes on from its last version has seen all."""

from __future__ import annotations

import asyncio

import pytest

from slipway.onebox.api.server import Parts
from slipway.onebox.api.target import Target
from slipway.onebox.api.watching import Event, Watcher, events


class Late(Watcher):
    """A write comes in the moment in which the time is over."""

    async def next(self) -> Event | None:
        try:
            return await super().next()
        except asyncio.CancelledError:
            self.pending.append(Event("ADDED", {}, 7))
            raise


@pytest.mark.parametrize(("kind", "told"), [(Watcher, [None]), (Late, [])])
async def test_no_bookmark_goes_past_an_event_that_was_not_sent(
    kind: type[Watcher], told: list[Event | None], parts: Parts
) -> None:
    found = parts.objects.catalog.find("", "v1", "configmaps")
    assert found is not None
    watcher = kind(Target(*found, namespace="default"), None, "somebody", 0)
    deadline = asyncio.get_running_loop().time() + 0.01
    assert [event async for event in events(watcher, deadline=deadline, bookmarks=True)] == told
