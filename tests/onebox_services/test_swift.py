from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from slipway.onebox.services import swift, swift_setup
from slipway.onebox.services.secrets import Secrets
from tests.data import REPOSITORY

SECRETS = Secrets(
    api_token="t",
    mlflow_admin_password="a",
    mlflow_reader_password="b",
    mlflow_flask_key="c",
    s3_registrar_key="registrar-key",
    s3_reader_key="reader-key",
    s3_scientist_key="scientist-key",
    s3_hash_suffix="suffix",
    hub_admin_password="d",
    hub_cookie_key="e",
    hub_proxy_token="f",
    hub_crypt_key="g",
    hub_user_key="h",
)
FOLDERS = swift.SwiftFolders(Path("/home/ada/.slipway/data/s3"))


def test_proxy_configuration(golden: Callable[[str, str], None]) -> None:
    golden("proxy.conf", swift.render_proxy_conf(port=8333, user="ada", folders=FOLDERS, secrets=SECRETS))


def test_storage_configuration(golden: Callable[[str, str], None]) -> None:
    golden("object.conf", swift.render_storage_conf("object", port=40001, user="ada", folders=FOLDERS))


def test_hash_configuration(golden: Callable[[str, str], None]) -> None:
    golden("swift.conf", swift.render_swift_conf(SECRETS))


PROGRAM = """
import json, sys
from pathlib import Path
from slipway.onebox.services import swift, swift_setup
from slipway.onebox.services.secrets import Secrets
folders, secrets = swift.SwiftFolders(Path(sys.argv[1])), Secrets(**json.loads(sys.argv[2]))
made = []
for ports in json.loads(sys.argv[3]):
    swift_setup.write_configuration(folders, secrets, ports=ports)
    made.append(folders.ring("container").stat().st_mtime_ns)
print(json.dumps(made))
"""
"""In a process of its own, as on a platform: Swift's library brings eventlet, with which threads of others stand still."""


def test_configuration_with_keys_is_its_owners_only_and_written_once(tmp_path: Path) -> None:
    folders = swift.SwiftFolders(tmp_path / "s3")
    ports = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 30, 4]]
    words = (str(folders.root), json.dumps(asdict(SECRETS)), json.dumps(ports))
    argv = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    first, same, other = json.loads(done.stdout)
    assert first == same != other
    assert {path.stat().st_mode & 0o077 for path in folders.config.glob("*.conf")} == {0}


def test_nothing_here_brings_eventlet_into_this_process() -> None:
    """Whichever tests ran before: `slipway` itself has threads."""
    assert "eventlet" not in sys.modules


def test_file_system_without_extended_attributes_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(swift_setup.StorageError, match="put SLIPWAY_HOME on ext4, xfs or btrfs"):
        swift_setup.refuse_without_xattrs(tmp_path)


def test_user_without_a_name_is_refused_with_the_remedy() -> None:
    with pytest.raises(LookupError, match="uid 3999999999 has no entry in /etc/passwd"):
        swift.user_name(3999999999)
