"""The objects a new API starts with: namespaces, the gateway, and the credentials that Pods get copies of."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from slipway.kube.client import Kube
from slipway.kube.errors import KubeError, NotFound
from slipway.kube.kinds import kind_of
from slipway.onebox.images.build import PLATFORM_ROOT
from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import reader, render_credentials
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import load_settings

FIELD_MANAGER = "slipway-up"
NAMESPACES = ("default", "kube-system", "istio-system", "slipway-system")
MODEL_STORAGE = "slipway-model-storage"
GATEWAY_FILE = PLATFORM_ROOT / "istio" / "base" / "gateway.yaml"


def objects(credentials: Mapping[str, str], gateways: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Namespaces first, because the others live in them."""
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": MODEL_STORAGE, "namespace": "slipway-system"},
        "type": "Opaque",
        "stringData": dict(credentials),
    }
    yield from gateways


async def apply_all(paths: Paths, *, only_missing: bool = False, on_applied: Callable[[str], None] = print) -> None:
    """``only_missing`` leaves alone what is there, as somebody may have changed it; each applied one is named.

    Raises:
        KubeError: the API does not answer or refuses one.
    """
    credentials = render_credentials(load_settings(paths.settings), reader(ensure_secrets(paths.secrets)))
    gateways = [document for document in yaml.safe_load_all(GATEWAY_FILE.read_text()) if document]
    async with Kube.from_kubeconfig(paths.kubeconfig, user_agent=FIELD_MANAGER) as kube:
        for item in objects(credentials, gateways):
            if only_missing and await _is_there(kube, item):
                continue
            await kube.apply(item, field_manager=FIELD_MANAGER)
            on_applied(f"{item['kind']} {item['metadata']['name']}")


async def _is_there(kube: Kube, item: Mapping[str, Any]) -> bool:
    meta = item["metadata"]
    try:
        await kube.get(kind_of(item), meta["name"], namespace=meta.get("namespace"))
    except NotFound:
        return False
    return True


def main() -> int:
    """Apply the platform's own objects, once the API answers."""
    parser = argparse.ArgumentParser(
        prog="python -m slipway.onebox.services.platform_objects", description=main.__doc__
    )
    parser.add_argument("--home", type=Path, required=True, help="SLIPWAY_HOME")
    paths = Paths(parser.parse_args().home.absolute())
    try:
        asyncio.run(apply_all(paths))
    except KubeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
