"""A home with a little of everything, made by hand: what a backup must bring back, and what it must leave."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from slipway.onebox.api.store import Store
from slipway.onebox.home_format import write_format
from slipway.onebox.paths import Paths
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.swift import DEVICE, SwiftFolders
from slipway.onebox.settings import Settings, save_settings

OLD_NETWORK = "127.96.16.0/20"
DIGEST = "sha256:" + "ab" * 32
OBJECT = f"{DEVICE}/objects/3/4d7/3a8c888f12c14d69944aa871b9e9e4d7/1.data"
METADATA = b"\x80\x02}q\x00\xff"


def put(place: Path, content: str = "x", mode: int = 0o600) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    place.chmod(mode)
    return place


def service(name: str, address: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"clusterIP": address, "clusterIPs": [address]}}


def make_home(home: Path, *, hub: bool = True) -> Paths:
    """Everything but PostgreSQL, which other tests look after."""
    paths = Paths(home)
    home.mkdir(mode=0o700, parents=True)
    write_format(paths)
    save_settings(paths.settings, Settings(gateway_port=9090, s3_object_port=23456, cluster_network=OLD_NETWORK))
    ensure_secrets(paths.secrets)
    store = Store(paths.api_database)
    store.put("services", ("default", "one"), service("one", "127.96.16.5"))
    store.put("services", ("default", "two"), service("two", "None"))
    store.close()
    objects = SwiftFolders(paths.data("s3")).devices / OBJECT
    put(objects, "weights")
    os.setxattr(objects, "user.swift.metadata", METADATA)
    put(paths.data("claims") / "default_photos" / "1.jpg", "photo")
    _images(paths)
    for left in ("kubeconfig", "mlflow.env", "run/wanted", "logs/api.log", "mesh/routes.json", "hosts"):
        put(home / left)
    put(paths.model_cache / "sha256" / "abc" / "weights")
    if hub:
        _hub(paths)
    return paths


def _images(paths: Paths) -> None:
    digest = DIGEST.removeprefix("sha256:")
    root = paths.images / "sha256" / digest / "root"
    put(root / "me.py", "print()", 0o444)
    root.chmod(0o555)
    put(paths.images / "tags" / "me" / "1", f"{DIGEST}\n")
    manifest = (
        f'{{"name": "me", "digest": "{DIGEST}", "entrypoint": [], "env": {{}}, "class_name": null, '
        '"environment": "lock", "size_bytes": 1, "created": "now"}'
    )
    put(root.parent / "manifest.json", manifest)
    environment = paths.environments / "lock"
    put(environment / "pyvenv.cfg", "home = /elsewhere/bin\nversion_info = 3.11.2\nrelocatable = true\n")
    put(environment / "bin" / "tool", f"#!{environment}/bin/python\nprint()\n", 0o755)
    (environment / "bin" / "python").symlink_to("/elsewhere/bin/python3.11")
    (environment / "bin" / "python3").symlink_to("python")
    (environment / "lib64").symlink_to("lib")
    put(environment / "lib" / "site.py", "pass")
    put(paths.environments / "half.tmp" / "bin" / "python")


def _hub(paths: Paths) -> None:
    put(paths.hub_home("ada") / "notes" / "day.ipynb", "{}", 0o640)
    (paths.hub_home("ada") / "out").symlink_to("/etc")
    (paths.hub_home("ada") / "latest").symlink_to("notes/day.ipynb")
    put(paths.hub_running / "ada.json", "{}")
    file = paths.data("hub") / "jupyterhub.sqlite"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as database:
        database.execute("create table users_info (username text)")
        database.execute("insert into users_info values ('ada')")
        database.commit()


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Name → content (of a link its target), mode."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = (f"-> {path.readlink()}", 0)
        elif path.is_file() and path.suffix != ".sqlite":
            found[str(path.relative_to(root))] = (path.read_text(), path.stat().st_mode & 0o777)
    return found
