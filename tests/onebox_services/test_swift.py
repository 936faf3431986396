from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.onebox.services import swift, swift_setup
from slipway.onebox.services.secrets import Secrets

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


def test_configuration_with_keys_is_its_owners_only_and_written_once(tmp_path: Path) -> None:
    folders = swift.SwiftFolders(tmp_path / "s3")
    swift_setup.write_configuration(folders, SECRETS, ports=[1, 2, 3, 4])
    assert {path.stat().st_mode & 0o077 for path in folders.config.glob("*.conf")} == {0}
    ring = folders.ring("container").stat().st_mtime_ns
    swift_setup.write_configuration(folders, SECRETS, ports=[1, 2, 3, 4])
    assert folders.ring("container").stat().st_mtime_ns == ring
    swift_setup.write_configuration(folders, SECRETS, ports=[1, 2, 30, 4])
    assert folders.ring("container").stat().st_mtime_ns != ring


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
