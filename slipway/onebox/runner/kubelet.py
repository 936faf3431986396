"""Pods of the API → workers: one per Pod uid; what is gone is stopped, what is left over from before is adopted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Collection, Mapping

from slipway.kube.errors import Conflict, KubeError, NotFound
from slipway.kube.kinds import POD
from slipway.kube.malformed import MALFORMED
from slipway.kube.reflector import ObjectKey, backoff_s
from slipway.onebox.runner.claims import claims_of
from slipway.onebox.runner.machine import Machine
from slipway.onebox.runner.memory import used_bytes
from slipway.onebox.runner.pod_worker import PodWorker
from slipway.onebox.runner.scheduler import Scheduler
from slipway.onebox.runner.spec import InvalidPod, Object
from slipway.onebox.runner.state import read_state

MEMORY_PERIOD_S = 5.0
RESTART_AFTER_S = 5.0
"""After a worker ended by a programming error; its containers run on and are adopted."""

log = logging.getLogger(__name__)


class Kubelet:
    """``reconcile`` with the Pods as they are now; ``stop_all`` before the runner ends."""

    def __init__(self, machine: Machine, scheduler: Scheduler) -> None:
        self._machine = machine
        self._scheduler = scheduler
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._refused: set[str] = set()
        self._unbegun: set[str] = set()  # uids that have no folder: there may be thousands that wait
        self._resting: set[str] = set()  # uids whose worker has failed and is not started again yet
        self._stopping = asyncio.Event()
        self._pods: Mapping[ObjectKey, Object] = {}

    def reconcile(self, pods: Mapping[ObjectKey, Object]) -> None:
        if self._stopping.is_set():
            return
        self._pods = pods
        by_uid = {str(obj["metadata"]["uid"]): obj for obj in pods.values()}
        self._refused &= by_uid.keys()
        self._unbegun &= by_uid.keys()
        self._scheduler.see(by_uid)
        for uid, worker in self._workers.items():
            if uid not in by_uid:
                worker.stop("gone from the API", grace_s=0)  # kubectl delete --force
        for uid, obj in by_uid.items():
            try:
                self._follow(uid, obj)
            except InvalidPod as exc:
                self._refuse(uid, obj, exc)
            except (OSError, *MALFORMED):  # what is left of it on this machine cannot be read, or taken up
                log.exception("%s: not taken up; it is tried again in %.0f s", obj["metadata"]["name"], RESTART_AFTER_S)
                self._rest(uid)

    def refresh_volumes(self) -> None:
        for worker in self._workers.values():
            worker.refresh_volumes()

    def stop_left_overs(self, pods: Mapping[ObjectKey, Object]) -> None:
        """Folders of Pods that were deleted while no runner was there: their containers may still run."""
        known = {str(obj["metadata"]["uid"]) for obj in pods.values()}
        for folder in sorted(self._machine.paths.pods.glob("*_*_*/")):
            state = read_state(folder)
            if state is None or state.uid in known:
                continue
            shell = _shell(state.namespace, state.name, state.uid, list(state.containers))
            try:
                worker = PodWorker(shell, self._machine)
            except (InvalidPod, OSError, *MALFORMED):
                log.exception("%s: what is left of it cannot be stopped", folder)
                continue
            worker.stop("deleted while no runner was there", grace_s=0)
            self._begin(state.uid, worker)

    async def stop_all(self) -> None:
        """Stop every Pod gracefully. The objects stay: the next runner starts them again."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop("the runner stops")
        await asyncio.gather(*(self._tasks[uid] for uid in self._workers), return_exceptions=True)

    def leaders(self, uids: Collection[str]) -> dict[str, dict[str, int]]:
        """Uid of a Pod → container → its first process, of those that run here."""
        return {uid: self._workers[uid].leaders() for uid in uids if uid in self._workers}

    def held_claims(self) -> frozenset[tuple[str, str]]:
        """(namespace, name) of the claims of Pods that are at work here, whether or not the API still has them."""
        return frozenset(key for worker in self._workers.values() for key in claims_of(worker.obj))

    async def watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_PERIOD_S)
            limits = [(worker, *item) for worker in self._workers.values() for item in worker.memory_limits().items()]
            used = await asyncio.to_thread(used_bytes, [pid for _, _, (pid, _) in limits])
            for worker, name, (pid, limit) in limits:
                if used[pid] > limit:
                    worker.kill_for_memory(name, used[pid], limit)

    def _follow(self, uid: str, obj: Object) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            if worker.obj is not obj:
                worker.update(obj)
            return
        if uid in self._resting:
            return
        has_begun = self._has_begun(uid, obj)
        if obj["metadata"].get("deletionTimestamp") and not has_begun:
            self._begin_removal(uid, obj)
            return
        if not self._scheduler.takes(obj, is_there=has_begun):
            return
        self._unbegun.discard(uid)
        worker = PodWorker(obj, self._machine)
        if worker.pod.is_deleted:
            worker.stop("deleted")
        self._begin(uid, worker)

    def _begin(self, uid: str, worker: PodWorker) -> None:
        self._workers[uid] = worker
        self._tasks[uid] = asyncio.create_task(self._run(uid, worker), name=f"pod {'/'.join(worker.pod.key)}")

    async def _run(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
            if not self._stopping.is_set():
                await self._remove(worker.obj)
                await asyncio.to_thread(_remove_folder, worker)
        except asyncio.CancelledError:
            raise
        except Exception:  # a bug of ours must not take the other Pods along
            log.exception("%s: its worker ended; it starts again in %.0f s", "/".join(worker.pod.key), RESTART_AFTER_S)
            self._rest(uid)
        finally:
            self._workers.pop(uid, None)
            self._tasks.pop(uid, None)

    def _rest(self, uid: str) -> None:
        self._resting.add(uid)
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, self._rested, uid)

    def _rested(self, uid: str) -> None:
        self._resting.discard(uid)
        self.reconcile(self._pods)

    def _begin_removal(self, uid: str, obj: Object) -> None:
        """Deleted before it ever ran here."""
        if uid not in self._tasks:
            task = asyncio.create_task(self._remove(obj))
            self._tasks[uid] = task
            task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    async def _remove(self, obj: Object) -> None:
        """The last step of a deletion: the object goes at once, or when the API is there again; the next runner goes on."""
        meta = obj["metadata"]
        for attempt in itertools.count(1):
            try:
                await self._machine.kube.delete(
                    POD, meta["name"], namespace=meta["namespace"], grace_period_s=0, uid=meta["uid"]
                )
            except (NotFound, Conflict):
                return
            except KubeError as exc:
                log.warning("%s/%s: not removed: %s", meta["namespace"], meta["name"], exc)
            else:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff_s(attempt)):
                    await self._stopping.wait()
                return

    def _refuse(self, uid: str, obj: Object, error: InvalidPod) -> None:
        if uid not in self._refused:
            self._refused.add(uid)
            log.error("Pod refused: %s", error)
            self._machine.events.record(obj, "InvalidPod", str(error), is_warning=True)
        if obj["metadata"].get("deletionTimestamp"):
            self._begin_removal(uid, obj)

    def _has_begun(self, uid: str, obj: Object) -> bool:
        """Whether there is a folder of it: only a worker makes one."""
        meta = obj["metadata"]
        if uid not in self._unbegun and not self._machine.paths.pod(meta["namespace"], meta["name"], uid).exists():
            self._unbegun.add(uid)
        return uid not in self._unbegun


def _remove_folder(worker: PodWorker) -> None:
    try:
        worker.remove_folder()
    except OSError as exc:
        log.warning("%s: its folder stays: %s", "/".join(worker.pod.key), exc)


def _shell(namespace: str, name: str, uid: str, containers: list[str]) -> Object:
    """A Pod of which only the running containers are known."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "spec": {"containers": [{"name": item} for item in containers]},
    }
