"""Finds the VirtualServices whose routes Envoy refuses, so that one of them does not hold up all the others."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.onebox.mesh.bootstrap import RUNTIME, envoy_binary
from slipway.onebox.mesh.ir import Finding, Mesh
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.limits import MAX_REASON_CHARS, VALIDATE_TIMEOUT_S
from slipway.onebox.mesh.render_listeners import render_gateway
from slipway.onebox.mesh.render_routes import render_routes
from slipway.onebox.mesh.translate import GATEWAY_LISTENER, Object, Objects, Site, translate

log = logging.getLogger(__name__)
Key = tuple[str, str]
Check = Callable[[Sequence[Object]], Awaitable[str | None]]


@dataclass(frozen=True)
class Refused:
    """A VirtualService as it was refused, and why."""

    spec: Any
    reason: str


class Refusals:
    """Remembers what Envoy refused, until it changes, and the version of each VirtualService that it took last."""

    def __init__(self, layout: Layout, site: Site) -> None:
        self._layout = layout
        self._site = site
        self._refused: dict[Key, Refused] = {}
        self._taken: dict[Key, Object] = {}

    def settle(self, objects: Objects) -> tuple[Objects, tuple[Finding, ...]]:
        """The objects with what was last taken in place of what is refused; nothing where nothing was taken."""
        present = {_key(item): item for item in objects.virtual_services}
        self._refused = {
            key: known
            for key, known in self._refused.items()
            if key in present and present[key].get("spec") == known.spec
        }
        chosen = (self._taken.get(key) if key in self._refused else item for key, item in present.items())
        findings = tuple(self._finding(key) for key in sorted(self._refused))
        return replace(objects, virtual_services=tuple(item for item in chosen if item is not None)), findings

    def accept(self, objects: Objects) -> None:
        """The Envoys that run have taken the routes of these."""
        self._taken = {_key(item): item for item in objects.virtual_services}

    async def search(self, objects: Objects) -> bool:
        """Whether the refused ones were found; False means that they are not to blame for what Envoy has not taken."""

        async def check(items: Sequence[Object]) -> str | None:
            mesh = translate(replace(objects, virtual_services=tuple(items)), self._site)
            return await problem_of(mesh, self._layout)

        found = await find_refused(objects.virtual_services, check)
        for item, reason in found:
            key, spec = _key(item), item.get("spec")
            if key in self._taken and self._taken[key].get("spec") == spec:  # taken while no Envoy ran
                del self._taken[key]
            self._refused.setdefault(key, Refused(spec, reason))
        return bool(found)

    def _finding(self, key: Key) -> Finding:
        what = "its last good routes stay in use" if key in self._taken else "it is not served"
        return Finding(
            "VirtualService", *key, "spec", f"Envoy refuses these routes: {self._refused[key].reason}: {what}"
        )


async def find_refused(items: Sequence[Object], check: Check) -> list[tuple[Object, str]]:
    """By halves: each item that ``check`` refuses alone, with its reason. One of n costs about 2 log2(n) checks."""
    reason = await check(items) if items else None
    if reason is None:
        return []
    if len(items) == 1:
        return [(items[0], reason)]
    middle = len(items) // 2
    return [*await find_refused(items[:middle], check), *await find_refused(items[middle:], check)]


async def problem_of(mesh: Mesh, layout: Layout) -> str | None:
    """What Envoy has against the gateway's routes, from a process that only validates; None where it takes them."""
    candidate = layout.paths.mesh / "candidate.json"
    candidate.write_text(json.dumps(_static(mesh, layout)))
    process = await asyncio.create_subprocess_exec(
        *(str(envoy_binary()), "--mode", "validate", "--config-path", str(candidate), "--disable-hot-restart"),
        *("--log-level", "error", "--log-format", "%v"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(), VALIDATE_TIMEOUT_S)
    except TimeoutError:
        log.exception("envoy --mode validate did not end within %s s: nothing is left out", VALIDATE_TIMEOUT_S)
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        candidate.unlink()
    if process.returncode == 0:
        return None
    return " ".join(errors.decode(errors="replace").split())[:MAX_REASON_CHARS] or f"exit code {process.returncode}"


def _static(mesh: Mesh, layout: Layout) -> dict[str, Any]:
    """A bootstrap with the gateway's listeners and their routes inside; tokens and policies are no VirtualService's fault."""
    gateway = next(item for item in mesh.listeners if item.name == GATEWAY_LISTENER)
    plain = replace(gateway, jwt_rules=())
    listeners = []
    every = {GATEWAY_LISTENER: mesh.virtual_hosts, **mesh.secure_hosts}
    for port, (name, hosts) in enumerate(every.items(), start=1):  # nothing is bound, but two of one port are refused
        listener = render_gateway(replace(plain, name=name, port=port), layout=layout, access_log="/dev/null")
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        del manager["rds"]
        manager["route_config"] = render_routes(name, [replace(host, policies=()) for host in hosts])
        for resource in (listener, manager["route_config"]):
            del resource["@type"]
        listeners.append(listener)
    return {"static_resources": {"listeners": listeners}, "layered_runtime": RUNTIME}


def _key(item: Object) -> Key:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]
