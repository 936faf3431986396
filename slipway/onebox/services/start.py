"""`slipway up`: ports, secrets and access files first, then a supervisor that is told what is wanted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from slipway.onebox.api.listener import ensure_certificate
from slipway.onebox.home_format import migrate
from slipway.onebox.paths import Paths
from slipway.onebox.services import swift
from slipway.onebox.services.credentials import write_access_files
from slipway.onebox.services.folders import ensure_folders
from slipway.onebox.services.hub import processes as hub
from slipway.onebox.services.hub.identity import choose_first_uid, refuse_unreachable, taken_numbers, uid_seed
from slipway.onebox.services.lost_secrets import refuse_lost_salt
from slipway.onebox.services.networks import choose_network, refuse_taken_network
from slipway.onebox.services.platform import OPTIONAL, PARTS, build_specs
from slipway.onebox.services.secrets import Secrets, ensure_secrets
from slipway.onebox.services.wanted import Wish, kept_environment, load_wish, save_wish
from slipway.onebox.settings import (
    HOST,
    INTERNAL,
    Settings,
    load_settings,
    parse_cluster_network,
    save_settings,
    with_internal_ports,
    with_ports,
)
from slipway.onebox.supervisor.control import living_supervisor, wake
from slipway.onebox.supervisor.loop import wanted_names
from slipway.onebox.supervisor.process import refuse_taken_ports, spawn_supervisor
from slipway.onebox.supervisor.procfs import descendants, listeners, listeners_in
from slipway.onebox.supervisor.spec import ProcessSpec
from slipway.onebox.supervisor.state import load_states

READY_WITHIN_S = 300.0  # a first start also makes a Python environment and a database
POLL_S = 0.05
SUPERVISOR_WITHIN_S = 10.0


class PlatformError(Exception):
    """The platform could not be brought up or down; the message is fit for people."""


class UnknownPart(PlatformError):
    """A word that names no part."""


@dataclass(frozen=True)
class Platform:
    """One home with its settings, its secrets and the processes they make."""

    paths: Paths
    settings: Settings
    secrets: Secrets

    @property
    def specs(self) -> tuple[ProcessSpec, ...]:
        return build_specs(self.paths, self.settings, self.secrets, load_wish(self.paths))


def names_of(specs: Collection[ProcessSpec], parts: Collection[str]) -> frozenset[str]:
    """The processes of some parts; a process may be named itself.

    Raises:
        UnknownPart: a word that is neither.
    """
    known = {*PARTS, *(spec.name for spec in specs)}
    if unknown := sorted(set(parts) - known):
        raise UnknownPart(f"{', '.join(unknown)}: no such part: there are {', '.join(PARTS)}")
    return frozenset(spec.name for spec in specs if spec.part in parts or spec.name in parts)


def choose_wanted(
    specs: Collection[ProcessSpec],
    *,
    only: Collection[str],
    without: Collection[str],
    running: Collection[str],
    optional: Collection[str] = (),
) -> frozenset[str]:
    """What `slipway up` asks for: everything, or ``only`` with what that needs, less ``without``; nothing stops.

    Of the optional parts, everything means those in ``optional``.
    """
    left_out = names_of(specs, set(OPTIONAL) - set(optional))
    chosen = names_of(specs, only) if only else frozenset(spec.name for spec in specs) - left_out
    needed = wanted_names(tuple(specs), chosen) if only else chosen
    return (needed - names_of(specs, without)) | frozenset(running)


def prepare(
    paths: Paths, ports: Mapping[str, int | None], *, with_parts: Collection[str] = (), without: Collection[str] = ()
) -> Platform:
    """Folders, secrets, remembered ports and addresses, kubeconfig and mlflow.env.

    An optional part is remembered from the first ``with_parts`` that names it to the next ``without`` that does.

    Raises:
        SettingsError: a port is no port, or two are equal.
        SupervisorError: a folder cannot be used, a newer release has had it, or no addresses are left for Services.
    """
    ensure_folders(paths)
    migrate(paths)
    remembered = load_settings(paths.settings)
    running = {port for state in load_states(paths.run).values() if state.is_alive for port in state.ports}
    strangers = [
        number
        for name in INTERNAL
        if (number := getattr(remembered, name)) and f"{HOST}:{number}" not in running and listeners(HOST, number)
    ]
    settings = with_internal_ports(with_ports(remembered, ports), taken=strangers)
    if not settings.cluster_network:
        network = choose_network(str(paths.home), lambda one: bool(listeners_in(one)))
        settings = replace(settings, cluster_network=str(network))
    settings = replace(settings, with_hub=hub.PART not in without and (settings.with_hub or hub.PART in with_parts))
    if settings.with_hub and os.getuid() == 0:
        settings = _with_hub_users(paths, settings)
    save_settings(paths.settings, settings)
    secrets = ensure_secrets(paths.secrets)
    ensure_certificate(paths.secrets)  # the kubeconfig names it
    write_access_files(paths, settings, secrets)
    return Platform(paths, settings, secrets)


def _with_hub_users(paths: Paths, settings: Settings) -> Settings:
    """Only root can give each hub user a user number of its own."""
    refuse_unreachable(paths)
    if settings.hub_first_uid:
        return settings
    first = choose_first_uid(str(paths.home), taken_numbers().__contains__, seed=uid_seed(paths.home))
    return replace(settings, hub_first_uid=first)


def request(platform: Platform, *, only: Collection[str] = (), without: Collection[str] = ()) -> Wish:
    """Tell the supervisor (a new one if none lives) what is wanted.

    Raises:
        SupervisorError: somebody else listens where one of them would; S3 is to start, and its salt was lost.
        PlatformError: a part that does not exist, or a supervisor that does not start.
    """
    paths, specs = platform.paths, platform.specs
    supervisor = living_supervisor(paths.run)
    names = {spec.name for spec in specs}
    running = load_wish(paths).names & names if supervisor else frozenset()
    wanted = choose_wanted(
        specs,
        only=only,
        without=without,
        running=running,
        optional=[hub.PART] if platform.settings.with_hub else [],
    )
    if (wanted - running) & names_of(specs, [swift.PART]):
        refuse_lost_salt(paths)
    states = load_states(paths.run)
    ours = {
        pid for state in states.values() if state.identity and state.is_alive for pid in descendants(state.identity.pid)
    }
    for spec in specs:
        if spec.name in wanted:
            refuse_taken_ports(spec, ours=ours)
    if wanted & names_of(specs, ["envoy"]):
        refuse_taken_network(parse_cluster_network(platform.settings.cluster_network), ours=ours)
    wish = save_wish(paths, wanted, kept_environment(os.environ))
    if supervisor:
        wake(supervisor)
    else:
        _spawn(paths)
    return wish


def _spawn(paths: Paths) -> None:
    for name, state in load_states(paths.run).items():
        if not state.is_alive:  # so that no old word of readiness is taken for a new one
            (paths.run / f"{name}.json").unlink(missing_ok=True)
    log = paths.logs / "supervisor.log"
    child = spawn_supervisor((sys.executable, "-m", "slipway.onebox.services", "--home", str(paths.home)), log=log)
    deadline = time.monotonic() + SUPERVISOR_WITHIN_S
    while living_supervisor(paths.run) is None:
        if child.poll() is not None or time.monotonic() > deadline:
            raise PlatformError(f"the supervisor did not start: read {log}")
        time.sleep(POLL_S)
