"""Where one machine keeps its state: every path under SLIPWAY_HOME is built here and nowhere else."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.file_names import file_name

SOCKETS = Path("/tmp")  # noqa: S108  - not TMPDIR, which may be long, and differ between `slipway up` and `slipway down`


@dataclass(frozen=True)
class Paths:
    """The folders and files of one platform.

    ``home`` is absolute. Sockets live outside it, in a short folder of the user's own, because a Unix socket path
    may not exceed 107 bytes and a long home would break PostgreSQL's.
    """

    home: Path

    @classmethod
    def from_env(cls) -> Paths:
        """``SLIPWAY_HOME``, or ``.slipway`` in the current folder; one home has one name, whatever links lead to it."""
        return cls(Path(os.environ.get("SLIPWAY_HOME") or ".slipway").resolve())

    @property
    def tag(self) -> str:
        """What tells this home from every other on the machine, a restored copy of it too."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:10]

    @property
    def sockets(self) -> Path:
        return SOCKETS / f"slipway-{os.getuid()}-{self.tag}"

    @property
    def secrets(self) -> Path:  # one file per secret, mode 0600, folder 0700
        return self.home / "secrets"

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def settings(self) -> Path:  # ports, as chosen by `slipway up`
        return self.home / "settings.json"

    @property
    def home_format(self) -> Path:  # the number of this home's layout, and the release that wrote it
        return self.home / "format.json"

    @property
    def backup_scratch(self) -> Path:  # what a backup copies before it writes its file; empty otherwise
        return self.home / "backup"

    @property
    def mlflow_env(self) -> Path:  # the registry's and the gateway's addresses, and keys, for `set -a; . mlflow.env`
        return self.home / "mlflow.env"

    @property
    def api_database(self) -> Path:
        return self.home / "api" / "objects.sqlite"

    @property
    def run(self) -> Path:  # one JSON file per platform process: pid and start time
        return self.home / "run"

    @property
    def logs(self) -> Path:  # one file per platform process
        return self.home / "logs"

    @property
    def pods(self) -> Path:
        return self.home / "pods"

    def pod(self, namespace: str, name: str, uid: str) -> Path:
        return self.pods / file_name(f"{namespace}_{name}_{uid}")

    def container_log(self, namespace: str, name: str, uid: str, *, container: str, restart: int) -> Path:
        """One line of output per line: ``<RFC 3339 time> stdout|stderr F <text>``."""
        return self.pod(namespace, name, uid) / "logs" / container / f"{restart}.log"

    @property
    def hosts(self) -> Path:  # the names of all Services, in the form of /etc/hosts
        return self.home / "hosts"

    @property
    def images(self) -> Path:
        return self.home / "images"

    @property
    def environments(self) -> Path:  # Python environments of images, one per lock digest
        return self.home / "environments"

    @property
    def model_cache(self) -> Path:  # content-addressed, one folder per model digest
        return self.home / "model-cache"

    @property
    def mesh(self) -> Path:
        return self.home / "mesh"

    @property
    def hub(self) -> Path:
        return self.home / "hub"

    @property
    def hub_config(self) -> Path:  # the owner's own settings of JupyterHub, where there are any
        return self.hub / "jupyterhub_config.py"

    @property
    def hub_users(self) -> Path:  # as root: the user number of each hub user, for ever
        return self.hub / "users.json"

    @property
    def hub_running(self) -> Path:  # one file per server that runs, and the hub's own: which image
        return self.hub / "running"

    @property
    def hub_homes(self) -> Path:
        return self.hub / "homes"

    def hub_home(self, user: str) -> Path:  # mode 0700, the user's own where the platform runs as root
        return self.hub_homes / user

    @property
    def hub_proxy(self) -> Path:  # configurable-http-proxy as npm installed it, one folder per lock file
        return self.hub / "proxy"

    def data(self, service: str) -> Path:
        """The data folder of a real part: ``postgres``, ``s3``, ``mlflow``, ``hub``."""
        return self.home / "data" / service
