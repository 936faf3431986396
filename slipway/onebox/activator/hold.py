"""A request waits here until an endpoint is ready for it, and its waiting is what wakes the Deployment."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from slipway.kube.pods import Trouble
from slipway.onebox.activator.held import NO_TARGET, Held, Refused, is_hopeless, not_awake
from slipway.onebox.activator.limits import HOLD_S
from slipway.onebox.activator.view import View
from slipway.onebox.mesh.ir import Endpoint
from slipway.onebox.mesh.sleepers import Target, parse_target


@dataclass(frozen=True)
class Look:
    """What the objects say of a target. ``trouble``: only where nothing is ready."""

    ready: tuple[Endpoint, ...]
    trouble: Trouble | None


class Hold:
    """``endpoint`` for each request; ``news`` after every change of the objects; ``wake`` is called when one waits."""

    def __init__(self, view: View, wake: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.held = Held()
        self._view = view
        self._wake = wake
        self._clock = clock
        self._changed = asyncio.Condition()
        self._looks: dict[Target, Look] = {}  # since the last news; at most one for each that waits

    async def news(self) -> None:
        async with self._changed:
            self._looks.clear()
            self._changed.notify_all()

    async def endpoint(self, header: str, *, size: int, within_s: float) -> Endpoint:
        """One that is ready, drawn from those there are. ``size``: bytes of the request's body.

        Raises Refused: ``header`` names no target, a bound is reached, or the Pod does not come up in time.
        """
        target = parse_target(header)
        if target is None:
            raise Refused(NO_TARGET, f"{header!r} is not namespace/deployment/service/port")
        ready = self._view.endpoints(target)
        if not ready:
            ready = await self._wait(target, size=size, within_s=min(within_s, HOLD_S))
        return random.choice(ready)  # noqa: S311  - a share of the load, no secret

    async def _wait(self, target: Target, *, size: int, within_s: float) -> tuple[Endpoint, ...]:
        key, begun = (target.namespace, target.deployment), self._clock()
        self.held.enter(key, size)
        try:
            self._wake()
            async with asyncio.timeout(within_s), self._changed:
                while not (look := self._look(target)).ready:
                    if is_hopeless(look.trouble):
                        raise self._refusal(key, look.trouble, begun)
                    await self._changed.wait()
        except TimeoutError:
            raise self._refusal(key, self._view.trouble(target), begun) from None
        finally:
            self.held.leave(key, size)
            if key not in self.held.counts:
                self._looks.pop(target, None)
        return look.ready

    def _look(self, target: Target) -> Look:
        """One for all who wait for the same, after each news: a look walks all of a namespace's Pods."""
        if target not in self._looks:
            ready = self._view.endpoints(target)
            self._looks[target] = Look(ready, None if ready else self._view.trouble(target))
        return self._looks[target]

    def _refusal(self, key: tuple[str, str], trouble: Trouble | None, begun: float) -> Refused:
        return not_awake(key, trouble, waited_s=self._clock() - begun)
