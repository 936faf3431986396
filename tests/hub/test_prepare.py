"""What a person reads whose server could not be made ready."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.onebox.images.errors import EnvironmentFailed
from slipway.onebox.services.hub import prepare
from slipway.onebox.services.hub.names import FAILED
from slipway.onebox.settings import SettingsError
from tests.waiting import wait_until

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/slipway/images")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "could not make your server ready: /srv/slipway/images: No space left on device; tell whoever runs it"),
        (EnvironmentFailed("torch==2.13.0: no such version"), "torch==2.13.0: no such version"),
        (SettingsError("settings.json: not JSON"), "settings.json: not JSON"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_failure_is_one_sentence(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(prepare, "build", fail)
    monkeypatch.setattr(sys, "argv", ["prepare", "--home", str(tmp_path), "--user", "ada", "--profile="])
    assert prepare.main() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(FAILED)
    assert json.loads(last.removeprefix(FAILED)).endswith(said)


@pytest.mark.parametrize("user", ["../ada", "Ada", "", "ada\n"])
def test_name_that_no_user_has_makes_nothing(
    user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare", "--home", str(tmp_path / "home"), "--user", user])
    assert prepare.main() == 1
    assert "a hub user's name is lower-case" in capsys.readouterr().out
    assert not (tmp_path / "home").exists()


GIVEN_UP = """
import subprocess, sys
from slipway.onebox.services.hub import prepare
def install(*_, **__):
    subprocess.run(["sleep", "600"], capture_output=True)
prepare.build = install
sys.argv = ["prepare", "--home", sys.argv[1], "--user", "ada"]
sys.exit(prepare.main())
"""


def test_preparation_that_is_given_up_ends_what_it_started(tmp_path: Path) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", GIVEN_UP, str(tmp_path)), stdout=subprocess.PIPE, text=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (child,) = wait_until(lambda: children.read_text().split(), timeout_s=30, what="the installation")
        process.terminate()
        assert process.wait(timeout=30) == prepare.GIVEN_UP
    assert not Path(f"/proc/{child}").exists()
