"""Carries the steps out: atomic replacement of files, and a bounded wait until the running Envoys have taken them."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.bootstrap import bootstrap
from slipway.onebox.mesh.followers import Follower
from slipway.onebox.mesh.layout import CERTIFICATES, ENVOYS, Layout
from slipway.onebox.mesh.limits import ACCESS_LOG_BYTES
from slipway.onebox.mesh.render import Resource, Resources, discovery_response
from slipway.onebox.mesh.scrape_targets import Group, envoy_groups
from slipway.onebox.mesh.steps import Step, plan_steps

log = logging.getLogger(__name__)


def prepare(layout: Layout, network: IPv4Network | None = None) -> None:
    """The folders and files without which Envoy does not start. What an earlier run left keeps serving until replaced.

    ``network``: as ``bootstrap``; where there is one, Prometheus is told where the Envoys are.
    """
    if network:
        write_targets(layout.envoy_targets, envoy_groups(network))
    for folder in (layout.paths.mesh, layout.paths.logs, layout.paths.sockets):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (layout.clusters, layout.routes, *(layout.listeners(index) for index in ENVOYS)):
        if _resources(path) is None:
            replace_file(path, discovery_response([]).text)
    for index in ENVOYS:  # last: their presence means that the rest is there
        replace_file(
            layout.bootstrap(index), json.dumps(bootstrap(index, layout.paths, network), indent=1, sort_keys=True)
        )


def write_targets(path: Path, groups: list[Group]) -> None:
    """A file of Prometheus' discovery; left alone where it says so already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, json.dumps(groups, indent=1) + "\n")


def replace_file(path: Path, text: str) -> bool:
    """Write beside, then rename: Envoy sees the old or the new file. False where the text was there already."""
    if path.exists() and path.read_text(errors="replace") == text:
        return False
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)  # some hold keys
    beside.write_text(text)
    beside.replace(path)
    return True


class Publisher:
    """Owns the files. ``publish`` leads from whatever they hold to the wanted resources."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._written: dict[str, str] = {}  # so that what did not change is not read back to be compared
        self._admins = tuple(Admin(layout.admin_socket(index)) for index in ENVOYS)
        self._followers = tuple(map(Follower, self._admins))

    @property
    def is_routed(self) -> bool:
        """Whether each Envoy has the routes that were published, or is not there: until then those before may be in use."""
        return all(one.has_routes for one in self._followers)

    async def publish(self, wanted: Resources) -> frozenset[str]:
        """The stat names of what a running Envoy has not taken in time. While routes are not taken, no cluster is removed."""
        missing: frozenset[str] = frozenset()
        for step in plan_steps(self._held(), wanted, self._layout):
            if step.name == "removal" and not self.is_routed:
                break
            for one, versions in zip(self._followers, step.expect, strict=True):
                one.expect(versions)
            if self._write(step):
                taken = map(partial(Follower.take, step=step.name), self._followers, step.expect)
                missing |= frozenset().union(*await asyncio.gather(*taken))
        self._forget_certificates(wanted)
        return missing

    async def missing(self) -> frozenset[str]:
        """The stat names of what was published and a running Envoy does not have."""
        return frozenset().union(*await asyncio.gather(*(one.missing() for one in self._followers)))

    async def listen(self) -> None:
        """Hears whether Envoys that said nothing do again."""
        await asyncio.gather(*(one.listen() for one in self._followers))

    def _forget_certificates(self, wanted: Resources) -> None:
        """A key that nothing serves with does not stay on the disk."""
        for path in self._layout.paths.mesh.glob(f"{CERTIFICATES}*.json"):
            if str(path) not in wanted.certificates:
                path.unlink(missing_ok=True)
                self._written.pop(str(path), None)

    def _held(self) -> dict[str, Resource]:
        return {item["name"]: item for item in _resources(self._layout.clusters) or ()}

    def _write(self, step: Step) -> bool:
        news = {name: text for name, text in step.files.items() if self._written.get(name) != text}
        changed = [Path(name).name for name, text in news.items() if replace_file(Path(name), text)]
        self._written |= news
        if changed:
            log.info("%s: wrote %s", step.name, ", ".join(changed))
        return bool(changed)

    async def rotate_access_logs(self) -> None:
        """Bounds the access logs: a file of ACCESS_LOG_BYTES becomes ``.1`` and Envoy begins a new one.

        An Envoy that was too busy to be told still writes to the old file: it is told again until the new one is there.
        """
        for index in ENVOYS:
            path = self._layout.access_log(index)
            old = path.with_name(f"{path.name}.1")
            if path.exists() and path.stat().st_size > ACCESS_LOG_BYTES:
                path.replace(old)
            if old.exists() and not path.exists():
                await self._admins[index].reopen_logs()


def _resources(path: Path) -> list[Resource] | None:
    """The resources of a file; None where there is no whole file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        found: list[Resource] = content["resources"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        log.warning("%s: not a file of ours (%s): it is written anew", path, exc)
        return None
    return found
