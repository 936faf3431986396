"""JupyterHub's environment and its proxy, installed when the hub is first wanted; later there is nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from slipway.onebox.images.build import PLATFORM_ROOT, build
from slipway.onebox.images.store import Store
from slipway.onebox.paths import Paths
from slipway.onebox.services.hub.programs import NPM_FILES, PROXY_SCRIPT, TAG, proxy_folder

NPM_TIMEOUT_S = 600.0
LAST_LINES = 15
NPM = ("ci", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--loglevel=error")


HINT = "JupyterHub, Node.js and their proxy: about 350 MB, half a minute on a fast line, once"


class ProxyError(Exception):
    """npm could not install the proxy; the message carries its last lines."""


def install(paths: Paths, *, progress: Callable[[str], None]) -> None:
    """Both, where they are missing.

    Raises:
        ImageError: the environment could not be made.
        ProxyError: npm failed.
    """
    if not paths.hub_proxy.exists():
        progress(HINT)
    build(TAG, paths=paths, repository=PLATFORM_ROOT, progress=progress)
    store = Store(paths)
    image = store.resolve(TAG)
    folder = proxy_folder(paths, image)
    if not (folder / PROXY_SCRIPT).exists():
        progress("installing configurable-http-proxy with npm (9 MB, once)")
        _install_proxy(folder, source=store.root(image), programs=store.environment(image) / "bin")
    for other in paths.hub_proxy.glob("*/"):
        if other != folder:
            shutil.rmtree(other)


def _install_proxy(folder: Path, *, source: Path, programs: Path) -> None:
    """Beside its place, then renamed: a folder of that name is whole."""
    draft = folder.with_suffix(".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name in NPM_FILES:
        shutil.copyfile(source / name, draft / name)
    path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
    options = f"{os.environ.get('NODE_OPTIONS', '')} --use-system-ca".strip()  # as uv does: the machine's certificates
    try:
        done = subprocess.run(
            (str(programs / "npm"), *NPM),
            cwd=draft,
            env={**os.environ, "PATH": path, "NODE_OPTIONS": options},
            check=False,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ProxyError(f"npm ci: not done within {NPM_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines()[-LAST_LINES:]
        raise ProxyError(f"npm ci failed (exit {done.returncode}):\n" + "\n".join(lines))
    draft.rename(folder)
