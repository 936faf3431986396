"""The hub is an optional part: chosen once, kept, given up by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError, exclusive
from slipway.onebox.services.hub import processes
from slipway.onebox.services.hub.launch import hub_argv, hub_environment, proxy_argv, proxy_environment
from slipway.onebox.services.hub.programs import Programs
from slipway.onebox.services.platform import build_specs
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.start import choose_wanted, prepare
from slipway.onebox.services.wanted import Wish
from slipway.onebox.settings import Settings, load_settings

PROGRAMS = Programs(Path("/i/root"), Path("/e"), Path("/p/chp"))
ordinary_user = pytest.mark.skipif(os.getuid() == 0, reason="as root the folder of a test is closed to hub users")


def chosen(paths: Paths, *, with_parts: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> bool:
    with exclusive(paths):
        prepare(paths, {}, with_parts=with_parts, without=without)
    return load_settings(paths.settings).with_hub


@ordinary_user
def test_hub_stays_chosen_until_it_is_given_up(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home")
    assert not chosen(paths)
    assert chosen(paths, with_parts=("hub",))
    assert chosen(paths)
    assert not chosen(paths, without=("hub",))
    assert not chosen(paths)


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user's hub users are that user")
def test_root_is_refused_a_home_that_hub_users_could_not_reach(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(HomeError, match="closed to other users.*let SLIPWAY_HOME name a folder such as /srv/slipway"):
        chosen(Paths(tmp_path / "home"), with_parts=("hub",))


def test_hub_is_wanted_only_where_it_was_chosen(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    specs = build_specs(paths, Settings(), ensure_secrets(paths.secrets), Wish())
    hub = {spec.name for spec in specs if spec.part == processes.PART}
    assert hub == {"hub", "hub-proxy"}

    def wanted(
        only: tuple[str, ...] = (), without: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> frozenset[str]:
        return choose_wanted(specs, only=only, without=without, running=(), optional=optional)

    assert wanted().isdisjoint(hub)
    assert wanted(optional=("hub",)) == {spec.name for spec in specs}
    assert wanted(optional=("hub",), without=("hub",)).isdisjoint(hub)
    assert {"hub", "hub-proxy", "api", "mlflow", "s3-proxy"} <= wanted(only=("hub",))


def test_secrets_of_the_hub_are_in_no_argv(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    secrets, settings = ensure_secrets(paths.secrets), Settings(hub_server_port=1, hub_proxy_port=2)
    words = [*hub_argv(PROGRAMS), *proxy_argv(PROGRAMS, settings)]
    assert set(vars(secrets).values()).isdisjoint(words)
    environment = hub_environment(PROGRAMS, paths, settings, secrets)
    assert environment["CONFIGPROXY_AUTH_TOKEN"] == proxy_environment(secrets)["CONFIGPROXY_AUTH_TOKEN"]
    assert len(bytes.fromhex(environment["JPY_COOKIE_SECRET"])) == 32
    assert len(bytes.fromhex(environment["JUPYTERHUB_CRYPT_KEY"])) == 32
    assert "--api-port" in words
    assert "8001" not in words  # configurable-http-proxy's own default is the port of our API
