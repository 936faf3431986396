"""docs/hub.md says the limits and the rights that there are."""

from __future__ import annotations

from slipway.onebox.services.hub import limits
from slipway.onebox.services.hub.accounts import TRAINING_SECRET
from slipway.onebox.services.hub.names import ADMIN, MAX_USER, namespace_of
from slipway.onebox.services.hub.processes import HUB_GRACE_S, NICE
from slipway.onebox.services.hub.profiles import PROFILES
from slipway.onebox.services.swift import BUCKET, TRAINING_BUCKET
from tests.data import REPOSITORY

TEXT = (REPOSITORY / "docs" / "hub.md").read_text()


def test_limits_are_the_documented_ones() -> None:
    rows = dict(line.strip("| ").split(" | ", 1) for line in TEXT.splitlines() if line.startswith("| "))
    assert rows["a name"].endswith(f"{MAX_USER} characters")
    assert rows["a password"].startswith(f"{limits.MIN_PASSWORD} characters to {limits.MAX_PASSWORD_BYTES} bytes")
    assert rows["wrong passwords"] == f"{limits.FAILED_LOGINS}, then {limits.LOCKED_OUT_S // 60} minutes of waiting"
    assert rows["accounts and requests for one"] == str(limits.MAX_ACCOUNTS)
    assert rows["servers at a time, being started at a time"] == f"{limits.MAX_SERVERS}, {limits.MAX_STARTING}"
    assert limits.IDLE_S == 3600
    assert rows["memory of a server with all that it started"] == f"{limits.MAX_MEMORY_BYTES >> 30} GiB (PSS)"
    assert rows["processes and threads of a user, as root"] == f"{limits.MAX_PROCESSES:,}"
    assert f"(`oom_score_adj` {limits.KILLED_FIRST})" in TEXT
    assert f"run with `nice` {NICE}" in TEXT
    assert rows["an idle server, an idle kernel"] == "stopped after an hour"
    assert rows["the start of a server"].startswith(f"{limits.START_WITHIN_S // 60} minutes")


def test_names_are_the_documented_ones() -> None:
    for name in (ADMIN, namespace_of("ada"), BUCKET, TRAINING_BUCKET, TRAINING_SECRET):
        assert f"`{name}`" in TEXT
    for profile in PROFILES.values():
        assert f"| {profile.title} |" in TEXT
        assert f"`images/{profile.image.removeprefix('slipway/')}`" in TEXT


def test_hub_has_time_to_stop_its_servers() -> None:
    assert 2 * limits.STOP_STEP_S + limits.END_WITHIN_S < HUB_GRACE_S
