"""The controller of PersistentVolumeClaims: protects and binds them, and deletes the folder of one that is released."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError, NotFound
from slipway.kube.kinds import PERSISTENT_VOLUME_CLAIM, POD
from slipway.kube.malformed import MALFORMED
from slipway.onebox.images.store import remove_tree
from slipway.onebox.runner.cache import Cache, key_of
from slipway.onebox.runner.claims import Key, Object, folder_name, is_going, next_step, patch_of, users_of_claims
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.rounds import MAX_SLEEP_S, RETRY_S, Rounds

MANAGER = "slipway-claims"
COMPONENT = "persistentvolume-controller"

log = logging.getLogger(__name__)


class ClaimRounds:
    """``wake`` after any change; ``run`` for ever. ``held``: the claims of Pods that have not ended on this machine."""

    def __init__(
        self, kube: Kube, cache: Cache, events: Events, *, folder: Path, held: Callable[[], Collection[Key]]
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._folder = folder
        self._held = held
        rounds = Rounds(self.round)
        self.wake, self.run = rounds.wake, rounds.run

    async def round(self) -> float:
        """One look at every claim; how long it may be until the next. One that is going is looked at often."""
        done = True
        for claim in self._cache.objects(PERSISTENT_VOLUME_CLAIM).values():
            try:
                done = await self._advance(claim) and done
            except (*MALFORMED, OSError) as exc:
                self._events.cannot_plan(claim, exc)
        return MAX_SLEEP_S if done else RETRY_S

    async def _advance(self, claim: Object) -> bool:
        """Its next step. False where it is to be looked at again soon."""
        key = key_of(claim)
        used = {*users_of_claims(self._cache.objects(POD).values()), *self._held()}
        step = next_step(claim, is_used=key in used)
        if step is None:
            return not is_going(claim)
        if step == "release" and not await self._remove_folder(claim):
            return False
        try:
            answer = await self._kube.patch(
                PERSISTENT_VOLUME_CLAIM,
                key[1],
                patch_of(claim, step),
                type="merge",
                namespace=key[0],
                subresource="status" if step == "bind" else None,
                field_manager=MANAGER,
            )
        except NotFound:
            return True
        except KubeError as exc:  # a Conflict too: the watch shows what it is now
            log.warning("PersistentVolumeClaim %s/%s: %s: %s", *key, step, exc)
            return False
        if step == "release":
            self._cache.forget(PERSISTENT_VOLUME_CLAIM, claim)
            return True
        self._cache.remember(PERSISTENT_VOLUME_CLAIM, answer)
        return step == "bind"

    async def _remove_folder(self, claim: Object) -> bool:
        folder = self._folder / folder_name(claim)
        if not folder.exists():
            return True
        try:
            await asyncio.to_thread(remove_tree, folder)
        except OSError as exc:
            self._events.record(claim, "VolumeFailedDelete", f"{folder}: {exc}", is_warning=True, component=COMPONENT)
            log.warning("%s: it is tried again: %s", folder, exc)
            return False
        return True
