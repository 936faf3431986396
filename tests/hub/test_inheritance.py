from __future__ import annotations

from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.inheritance import HUB_SECRETS, platform_environment
from slipway.onebox.services.hub.launch import hub_environment
from slipway.onebox.services.hub.programs import Programs
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import Settings


def test_no_secret_of_the_hub_reaches_what_a_preparation_starts(tmp_path: Path) -> None:
    paths, programs = Paths(tmp_path), Programs(Path("/i/root"), Path("/e"), Path("/p/chp"))
    hub = hub_environment(programs, paths, Settings(), ensure_secrets(paths.secrets))
    assert set(HUB_SECRETS) < set(hub)
    passed = platform_environment({**hub, "PATH": "/bin"})
    assert passed["PATH"] == "/bin"
    assert "PYTHONPATH" not in passed
    secrets = vars(ensure_secrets(paths.secrets)).values()
    assert [name for name, value in passed.items() if any(secret in value for secret in secrets)] == []
