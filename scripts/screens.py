"""Takes the pictures in docs/screens again: hub, notebooks with boxes, MLflow's pages with the proof.

The platform must be up with the hub. A hub user is let in and runs the notebooks, and Chromium looks at the pages.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import hub_endpoint, load_model_credentials
from slipway.onebox.settings import load_settings
from slipway.registry import RegistryAddress, ResolvedModel, resolve
from tests.data import REPOSITORY
from tests.e2e.hub import PASSWORD, Hub, HubSession
from tests.e2e.platform import Platform
from tests.onebox_mesh.browser import Page, chromium_page
from tests.waiting import eventually

SCREENS = REPOSITORY / "docs" / "screens"
WIDTH, HEIGHT = 1200, 760
FORM = 460
BANNER = 160  # what a page with two buttons fills
LOAD_S = 90.0
NOTEBOOK_S = 900.0
NOTEBOOKS = ("01-train.ipynb", "02-register.ipynb", "03-deploy.ipynb", "04-canary.ipynb")
SHOWN = {"notebook-boxes": ("03-deploy.ipynb", 0), "notebook-canary": ("04-canary.ipynb", 2)}  # which of its pictures
JPEG_QUALITY = 80  # for photos, of which a PNG is large
EXAMPLES = """examples:
  slipway up --with hub && python -m scripts.screens
  python -m scripts.screens --user guest --only mlflow
"""
EXECUTE = """
import subprocess, sys
done = subprocess.run(
    [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", {path!r}],
    capture_output=True, text=True, cwd={folder!r})
assert done.returncode == 0, done.stderr
"""


def main() -> int:
    """Take them; the names of the files on standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.screens",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--user", default="ann", help="of the hub; made if there is none (default %(default)s)")
    parser.add_argument("--only", choices=("hub", "notebook", "mlflow"), help="default: all of them")
    arguments = parser.parse_args()
    asyncio.run(take(arguments.user, only=arguments.only))
    return 0


async def take(user: str, *, only: str | None = None) -> None:
    """Run the notebooks unless only the hub is wanted, then the pictures."""
    paths = Paths.from_env()
    settings = load_settings(paths.settings)
    ports = (settings.gateway_port, settings.api_port, settings.mlflow_port, settings.s3_port)
    hub = Hub(hub_endpoint(settings), Platform(paths.home, ports))
    SCREENS.mkdir(parents=True, exist_ok=True)
    async with HubSession(hub.url, user, PASSWORD) as session:
        await hub.let_in(session)
        await session.start_server()
        if only in (None, "notebook"):
            for name in NOTEBOOKS:
                await execute(session, name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # Chromium's last children still write
        async with chromium_page(Path(scratch) / "profile") as page:
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
            )
            if only != "mlflow":
                await log_in(page, hub.url, user, is_shown=only != "notebook")
            if only in (None, "notebook"):
                for name, (notebook, number) in SHOWN.items():
                    await show_notebook(page, f"{hub.url}/user/{user}/doc/tree/notebooks/{notebook}", number, name)
            if only in (None, "mlflow"):
                await show_mlflow(page, load_model_credentials(paths), model=f"shapes-{user}")


async def execute(session: HubSession, name: str) -> None:
    """With its outputs kept in the user's own copy, as after a person's "Run all"."""
    code = EXECUTE.format(path=name, folder="notebooks")
    await session.run_cell(code, timeout_s=NOTEBOOK_S)


async def log_in(page: Page, url: str, user: str, *, is_shown: bool) -> None:
    await page.open(f"{url}/hub/login")
    await see(page, "document.querySelector('input[name=username]')")
    if is_shown:
        await shoot(page, "hub-login", height=FORM)
    fields = {"username": user, "password": PASSWORD}
    for name, value in fields.items():
        await page.evaluate(f"document.querySelector('input[name={name}]').value = {json.dumps(value)}; 0")
    await page.evaluate("document.querySelector('input[name=password]').form.requestSubmit(); 0")
    await see(page, "location.pathname.startsWith('/user/') || location.pathname.startsWith('/hub/home')")
    await page.open(f"{url}/hub/home")
    await see(page, "document.querySelector('#stop')?.offsetParent")
    if is_shown:
        await shoot(page, "hub-home", height=BANNER)


async def show_notebook(page: Page, url: str, number: int, name: str) -> None:
    """Scrolled to one of its pictures, below the code that made it."""
    await page.open(url)
    picture = f"document.querySelectorAll('.jp-OutputArea-output img')[{number}]"
    await see(page, f"{picture}?.naturalWidth")
    await page.evaluate("document.querySelectorAll('.Toastify').forEach(one => one.remove()); 0")
    for _ in range(2):  # cells above have their height only once they were seen
        await page.evaluate(f"{picture}.scrollIntoView({{block: 'end'}}); 0")
        await settled(page)
    await shoot(page, name, kind="jpeg")


async def show_mlflow(page: Page, keys: Mapping[str, str], *, model: str) -> None:
    """The challenger's own page, and the report that it links to."""
    found = await challenger(keys, model)
    login = base64.b64encode(f"{keys['MLFLOW_TRACKING_USERNAME']}:{keys['MLFLOW_TRACKING_PASSWORD']}".encode()).decode()
    await page.call("Network.enable")
    await page.call("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {login}"})
    await page.open(f"{keys['MLFLOW_TRACKING_URI']}/#/models/{model}/versions/{found.version}")
    link = "[...document.querySelectorAll('a')].find(one => one.textContent.endsWith('report.html'))"
    await see(page, link)
    for button in ("mlflow.assistant.chat_panel.close", "mlflow_header.toggle_sidebar_button"):
        await click(page, f'[data-component-id="{button}"]')
    await settled(page)
    await shoot(page, "mlflow-version")
    address = await page.evaluate(f"({link}).href")
    await page.open(address)
    for name in ("proof", "report.html"):
        await click(page, f'[artifact-name="{name}"]')
    await see(page, "document.querySelector('iframe')")
    await settled(page)
    await shoot(page, "mlflow-proof")


async def challenger(keys: Mapping[str, str], model: str) -> ResolvedModel:
    registry = RegistryAddress.from_env(keys)
    if registry is None:
        sys.exit("screens: no registry is known: `slipway up --with hub` starts one")
    async with aiohttp.ClientSession() as session:
        return await resolve(f"models:/{model}@challenger", registry=registry, session=session)


async def see(page: Page, expression: str) -> None:
    """Until something of the page is there."""
    await eventually(lambda: page.evaluate(f"Boolean({expression})"), timeout_s=LOAD_S, what=expression)


async def click(page: Page, selector: str) -> None:
    await see(page, f"document.querySelector({json.dumps(selector)})")
    await page.evaluate(f"document.querySelector({json.dumps(selector)}).click(); 0")


async def settled(page: Page) -> None:
    """Until the page looks the same in two pictures one after the other."""
    last = ""

    async def is_still() -> bool:
        nonlocal last
        before, last = last, await capture(page)
        return before == last

    await eventually(is_still, timeout_s=LOAD_S, what="a page that does not move")


async def capture(page: Page, *, height: int = HEIGHT, kind: str = "png") -> str:
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    quality = {"quality": JPEG_QUALITY} if kind == "jpeg" else {}
    answer: dict[str, Any] = await page.call("Page.captureScreenshot", format=kind, clip=clip, **quality)
    return str(answer["data"])


async def shoot(page: Page, name: str, *, height: int = HEIGHT, kind: str = "png") -> None:
    path = SCREENS / f"{name}.{'jpg' if kind == 'jpeg' else kind}"
    path.write_bytes(base64.b64decode(await capture(page, height=height, kind=kind)))
    print(path.relative_to(REPOSITORY), path.stat().st_size, flush=True)


if __name__ == "__main__":
    sys.exit(main())
