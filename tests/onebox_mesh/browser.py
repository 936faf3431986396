"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.waiting import eventually

CHROMIUM = shutil.which("chromium")
START_S = 30.0
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.console: list[str] = []
        self.requested: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(START_S):
            while True:
                message = await self._socket.receive_json()
                if message.get("id") == number:
                    assert "error" not in message, message
                    return message["result"]
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params") or {}
        if message.get("method") == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(parameters["exceptionDetails"]))
        elif message.get("method") == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def text(self, element: str) -> str:
        return await self.evaluate(f"document.getElementById({element!r}).textContent")

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await eventually(lambda: self.evaluate("document.readyState === 'complete'"), timeout_s=START_S)

    async def choose_file(self, selector: str, path: Path) -> None:
        root = await self.call("DOM.getDocument")
        found = await self.call("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
        await self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path)])

    async def press(self, key: str, code: int) -> None:
        """A key as a keyboard sends it."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )


@asynccontextmanager
async def chromium_page(profile: Path) -> AsyncIterator[Page]:
    """A new tab of a new browser with a profile of its own."""
    assert CHROMIUM is not None
    with (profile.parent / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        port_file = profile / "DevToolsActivePort"
        await eventually(
            lambda: port_file.exists() and "\n" in port_file.read_text(), timeout_s=START_S, what="Chromium"
        )
        port = port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/json/list") as reply:
                targets = await reply.json()
            address = next(item["webSocketDebuggerUrl"] for item in targets if item["type"] == "page")
            async with session.ws_connect(address, max_msg_size=MAX_MESSAGE_BYTES) as socket:
                yield Page(socket)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
