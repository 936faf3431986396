"""S3: OpenStack Swift with its s3api, one proxy and one account, container and object server, one copy of each object."""

from __future__ import annotations

import pwd
import sys
from configparser import RawConfigParser
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import S3_ACCOUNT, S3_REGION, registrar, s3_endpoint
from slipway.onebox.services.probes import HttpProbe, S3Probe
from slipway.onebox.services.secrets import Secrets
from slipway.onebox.settings import HOST, Settings
from slipway.onebox.supervisor.spec import Port, ProcessSpec

PART = "s3"
BUCKET = "slipway-models"
TRAINING_BUCKET = "training"  # checkpoints, each written over the one before: no versions are kept
SWIFT_ACCOUNT = f"AUTH_{S3_ACCOUNT}"
STORAGE_SERVERS = ("account", "container", "object")
DEVICE = "disk"
NICE = 5  # what is being served comes from the cache
MAX_CLIENTS = 128  # connections each server handles at once
# `s3api` before `tempauth`; `versioned_writes` needs `symlink` after it; `slo` holds multipart uploads.
PIPELINE = "catch_errors gatekeeper proxy-logging listing_formats s3api tempauth copy slo dlo versioned_writes symlink proxy-server"
FILTERS = {  # name in the pipeline → entry point, options
    "catch_errors": ("catch_errors", {}),
    "gatekeeper": ("gatekeeper", {}),
    "proxy-logging": ("proxy_logging", {}),
    "listing_formats": ("listing_formats", {}),
    "s3api": ("s3api", {"location": S3_REGION}),
    "copy": ("copy", {}),
    "slo": ("slo", {}),
    "dlo": ("dlo", {}),
    "versioned_writes": ("versioned_writes", {"allow_object_versioning": "true"}),
    "symlink": ("symlink", {}),
}


def segments_of(bucket: str) -> str:
    """The container in which s3api keeps the parts of a bucket's multipart uploads."""
    return f"{bucket}+segments"


@dataclass(frozen=True)
class SwiftFolders:
    """Where Swift keeps its configuration and its objects."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "etc"

    @property
    def devices(self) -> Path:
        return self.root / "devices"

    def conf(self, server: str) -> Path:
        return self.config / f"{server}.conf"

    def ring(self, server: str) -> Path:
        return self.config / f"{server}.ring.gz"


def render_swift_conf(secrets: Secrets) -> str:
    return _render(
        {
            "swift-hash": {"swift_hash_path_suffix": secrets.s3_hash_suffix},
            "storage-policy:0": {"name": "one-copy", "default": "yes"},
        }
    )


def render_storage_conf(server: str, *, port: int, user: str, folders: SwiftFolders) -> str:
    """The configuration of the account, container or object server."""
    return _render(
        {
            "DEFAULT": {
                **_defaults(port=port, user=user, folders=folders),
                "devices": str(folders.devices),
                "mount_check": "false",
                "db_preallocation": "off",
            },
            "pipeline:main": {"pipeline": f"healthcheck {server}-server"},
            "filter:healthcheck": {"use": "egg:swift#healthcheck"},
            f"app:{server}-server": {"use": f"egg:swift#{server}"},
        }
    )


def render_proxy_conf(*, port: int, user: str, folders: SwiftFolders, secrets: Secrets) -> str:
    filters = {f"filter:{name}": {"use": f"egg:swift#{entry}", **options} for name, (entry, options) in FILTERS.items()}
    return _render(
        {
            "DEFAULT": _defaults(port=port, user=user, folders=folders),
            "pipeline:main": {"pipeline": PIPELINE},
            "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
            **filters,
            "filter:tempauth": {
                "use": "egg:swift#tempauth",
                f"user_{S3_ACCOUNT}_registrar": f"{secrets.s3_registrar_key} .admin",
                f"user_{S3_ACCOUNT}_reader": secrets.s3_reader_key,
                f"user_{S3_ACCOUNT}_scientist": secrets.s3_scientist_key,
            },
        }
    )


def _defaults(*, port: int, user: str, folders: SwiftFolders) -> dict[str, str]:
    return {
        "bind_ip": HOST,
        "bind_port": str(port),
        "workers": "0",  # serve in the process itself, no children
        "max_clients": str(MAX_CLIENTS),
        "user": user,
        "swift_dir": str(folders.config),
        "log_level": "INFO",
    }


def _render(sections: dict[str, dict[str, str]]) -> str:
    parser = RawConfigParser(default_section="")  # [DEFAULT] is written like any other section
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
    parser.read_dict(sections)
    text = StringIO()
    parser.write(text)
    return text.getvalue()


def user_name(uid: int) -> str:
    """The login name, which Swift's servers insist on.

    Raises:
        LookupError: the user has no entry in the password database.
    """
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError as error:
        raise LookupError(f"uid {uid} has no entry in /etc/passwd, which the S3 server needs: add one") from error


def specs(paths: Paths, settings: Settings, secrets: Secrets, *, env: dict[str, str]) -> list[ProcessSpec]:
    """The configuration, the four servers, the bucket. Nothing else of the platform waits for them."""
    folders = SwiftFolders(paths.data("s3"))
    internal = {server: int(getattr(settings, f"s3_{server}_port")) for server in STORAGE_SERVERS}
    task = (sys.executable, "-m", "slipway.onebox.services.swift_setup", "--home", str(paths.home))
    ports = tuple(str(port) for port in (settings.s3_port, *internal.values()))
    public = Port(HOST, settings.s3_port, "--s3-port")
    role = registrar(secrets)
    probe = S3Probe(s3_endpoint(settings), role.s3_user, role.s3_key, S3_REGION)
    names = [f"s3-{server}" for server in STORAGE_SERVERS]
    return [
        ProcessSpec(name="s3-config", part=PART, argv=(*task, "config", "--ports", *ports), env=env, nice=NICE),
        *(_server(server, Port(HOST, port), folders=folders, env=env) for server, port in internal.items()),
        ProcessSpec(
            name="s3-proxy",
            part=PART,
            argv=_argv("proxy", folders),
            env=env,
            ports=(public,),
            probe=probe,
            after=("s3-config", *names),
            nice=NICE,
        ),
        ProcessSpec(name="s3-bucket", part=PART, argv=(*task, "bucket"), env=env, after=("s3-proxy",), nice=NICE),
    ]


def _server(server: str, port: Port, *, folders: SwiftFolders, env: dict[str, str]) -> ProcessSpec:
    return ProcessSpec(
        name=f"s3-{server}",
        part=PART,
        argv=_argv(server, folders),
        env=env,
        ports=(port,),
        probe=HttpProbe(f"http://{port}/healthcheck"),
        after=("s3-config",),
        nice=NICE,
    )


def _argv(server: str, folders: SwiftFolders) -> tuple[str, ...]:
    program = Path(sys.executable).with_name(f"swift-{server}-server")
    return (sys.executable, str(program), str(folders.conf(server)), "--verbose")  # to the console, not to syslog
