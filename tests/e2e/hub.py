"""One person at the hub, over HTTP only: sign up, log in, start a server, run cells and notebooks through its kernel API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import aiohttp
from yarl import URL

from slipway.onebox.services.hub.names import ADMIN
from slipway.onebox.services.secrets import ensure_secrets
from tests.e2e.platform import Platform
from tests.ports import free_ports
from tests.waiting import POLL_S

REQUEST_TIMEOUT_S = 60.0
SERVER_TIMEOUT_S = 900.0
"""The first server of a profile installs its environment."""
CELL_TIMEOUT_S = 120.0
MAX_MESSAGE_BYTES = 64 << 20
_XSRF_FIELD = re.compile(r"""name="_xsrf"\s+value="([^"]+)"|[?&]_xsrf=([^"&]+)""")


ANNOUNCEMENT = "Maintenance on Sunday"
SHUT_OUT_S = 5
OWN_CONFIG = f"""
c.JupyterHub.template_vars = {{"announcement": "{ANNOUNCEMENT}"}}
c.JupyterHub.services = [{{"name": "owners-own"}}]
c.Spawner.args = ["--ServerApp.max_body_size=1000000000"]
c.SlipwayAuthenticator.auth_refresh_age = {SHUT_OUT_S}
"""
"""What the owner of a platform may add to the hub's settings; nothing of ours is lost by it."""
PASSWORD = "correct horse battery staple"


class CellError(AssertionError):
    """A cell raised; the message is its traceback."""


@dataclass
class CellResult:
    """What a cell left: its text on stdout and stderr, and the data of what it displayed and of its last value."""

    text: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def images(self) -> list[str]:
        """The PNGs it drew, in base64."""
        return [output["image/png"] for output in self.outputs if "image/png" in output]


@dataclass(frozen=True)
class Hub:
    """The hub of a platform that runs. ``url`` is such as ``http://127.0.0.1:8000``."""

    url: str
    platform: Platform

    @classmethod
    def start(cls, platform: Platform) -> Self:
        """On a free port, beside what runs."""
        (port,) = free_ports(1)
        platform.paths.hub.mkdir(mode=0o700, exist_ok=True)
        platform.paths.hub_config.write_text(OWN_CONFIG)
        platform.slipway("up", "--with", "hub", "--hub-port", str(port))
        return cls(f"http://127.0.0.1:{port}", platform)

    @contextmanager
    def settings(self, lines: str) -> Iterator[None]:
        """The hub restarted with these lines in its owner's file, and once more without them."""
        self._restart(OWN_CONFIG + lines)
        try:
            yield
        finally:
            self._restart(OWN_CONFIG)

    def _restart(self, config: str) -> None:
        self.platform.paths.hub_config.write_text(config)
        self.platform.slipway("down", "hub")
        self.platform.slipway("up")

    def admin(self) -> HubSession:
        return HubSession(self.url, ADMIN, ensure_secrets(self.platform.paths.secrets).hub_admin_password)

    @asynccontextmanager
    async def user(self, name: str, *, profile: str = "minimal") -> AsyncIterator[HubSession]:
        """Somebody with an account, logged in, whose server runs; it is stopped afterwards."""
        async with HubSession(self.url, name, PASSWORD) as session:
            await self.let_in(session)
            await session.start_server(profile)
            try:
                yield session
            finally:
                await session.stop_server()

    async def let_in(self, session: HubSession) -> None:
        """Sign up, be let in by the administrator, log in; whoever has an account only logs in."""
        if await session.log_in():
            return
        await session.sign_up()
        async with self.admin() as admin:
            assert await admin.log_in()
            await admin.authorize(session.user)
        assert await session.log_in()

    def remove_unix_users(self) -> None:
        """As root the hub made accounts on this machine; a test leaves none."""
        file = self.platform.paths.hub / "users.json"
        if os.getuid() == 0 and file.exists():
            for number in json.loads(file.read_text()).values():
                self.platform.run("userdel", f"hub-{number}", check=False)


class HubSession:
    """One browser. ``url`` is the hub's, such as ``http://127.0.0.1:8000``."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url, self.user, self._password = URL(url), user, password
        self._http: aiohttp.ClientSession | None = None
        self._kernel = ""

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._http is not None, "HubSession is used outside of `async with`"
        return self._http

    # -- the hub's pages

    async def sign_up(self) -> str:
        """Ask for an account; the page that answers."""
        form = {
            "username": self.user,
            "signup_password": self._password,
            "signup_password_confirmation": self._password,
        }
        _, page = await self.submit("/hub/signup", form)
        return page

    async def log_in(self) -> bool:
        """Whether the hub let us in."""
        status, _ = await self.submit("/hub/login", {"username": self.user, "password": self._password})
        found = await self.get("/hub/home")
        return status == 200 and found[0] == 200 and "/hub/logout" in found[1]

    async def authorize(self, user: str) -> None:
        """As administrator: press the button that lets ``user`` in, or shuts that user out."""
        status, page = await self.submit(f"/hub/authorize/{user}", {}, at="/hub/authorize")
        assert status == 200, page

    async def discard(self, user: str) -> None:
        """As administrator: press the button that forgets the request of ``user``."""
        status, page = await self.submit(f"/hub/discard/{user}", {}, at="/hub/authorize")
        assert status == 200, page

    async def get(self, path: str) -> tuple[int, str]:
        return await self.send("GET", path)

    async def send(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """What a link or a form of somebody else's page can send: with the cookies, without the token of ours."""
        async with self.http.request(method, self.url.join(URL(path)), data=form) as answer:
            return answer.status, await answer.text()

    async def submit(self, path: str, form: dict[str, str], *, at: str = "") -> tuple[int, str]:
        """The form of the page ``at``, else of the page that it is sent to."""
        _, page = await self.get(at or path)
        found = _XSRF_FIELD.search(page)
        assert found is not None, f"{path}: no form: {page[:500]}"
        async with self.http.post(
            self.url.join(URL(path)), data={**form, "_xsrf": unescape(found[1] or unquote(found[2]))}
        ) as answer:
            return answer.status, await answer.text()

    # -- the user's server

    async def start_server(self, profile: str = "minimal") -> list[str]:
        """Through the form that people use; returns what the hub said while it started, once the server answers.

        A server that runs already is taken as it is.
        """
        if await self.has_server():
            await self.get(f"/user/{self.user}/lab")
            return []
        status, page = await self.submit(f"/hub/spawn/{self.user}", {"profile": profile})
        assert status == 200, page
        lines = await asyncio.wait_for(self._follow_progress(), SERVER_TIMEOUT_S)
        status, page = await self.get(f"/user/{self.user}/lab")  # the server's own login, by redirects
        assert status == 200, page[:500]
        return lines

    async def _follow_progress(self) -> list[str]:
        path = f"/hub/api/users/{self.user}/server/progress"
        lines: list[str] = []
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SERVER_TIMEOUT_S)
        headers = {"Referer": str(self.url.join(URL("/hub/home"))), "X-XSRFToken": self._xsrf("/hub/")}
        async with self.http.get(self.url.join(URL(path)), headers=headers, timeout=timeout) as answer:
            assert answer.status == 200, await answer.text()
            async for raw in answer.content:
                if not raw.startswith(b"data: "):
                    continue
                event = json.loads(raw.removeprefix(b"data: "))
                lines.append(str(event.get("message", "")))
                assert not event.get("failed"), "\n".join(lines)
                if event.get("ready"):
                    break
        return lines

    async def stop_server(self) -> None:
        status, text = await self.api("DELETE", f"/hub/api/users/{self.user}/server", at="/hub/")
        assert status in (202, 204), text
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while await self.has_server():
            assert time.monotonic() < deadline, f"{self.user}'s server does not stop"
            await asyncio.sleep(POLL_S)

    async def has_server(self) -> bool:
        status, text = await self.api("GET", f"/hub/api/users/{self.user}", at="/hub/")
        assert status == 200, text
        return bool(json.loads(text)["servers"])

    async def has_no_server(self) -> bool:
        return not await self.has_server()

    async def api(self, method: str, path: str, *, at: str, body: object = None) -> tuple[int, str]:
        """A REST call of the hub (``at`` /hub/) or of the server, with the token against forgery that pages send."""
        headers = {"X-XSRFToken": self._xsrf(at), "Referer": str(self.url.join(URL(at)))}
        async with self.http.request(method, self.url.join(URL(path)), json=body, headers=headers) as answer:
            return answer.status, await answer.text()

    def _xsrf(self, path: str) -> str:
        cookies = self.http.cookie_jar.filter_cookies(self.url.join(URL(path)))
        return cookies["_xsrf"].value if "_xsrf" in cookies else ""

    # -- its kernel

    @property
    def server(self) -> str:
        return f"/user/{self.user}/"

    async def open_kernel(self) -> None:
        """A fresh Python kernel, as a new notebook gets; its folder is ``notebooks`` of the home where there is one."""
        status, text = await self.api("POST", f"{self.server}api/kernels", at=self.server, body={"name": "python3"})
        assert status == 201, text
        self._kernel = json.loads(text)["id"]

    async def close_kernel(self) -> None:
        if self._kernel:
            await self.api("DELETE", f"{self.server}api/kernels/{self._kernel}", at=self.server)
            self._kernel = ""

    async def run_cell(self, code: str, *, timeout_s: float = CELL_TIMEOUT_S) -> CellResult:
        """Run the code; opens a kernel when there is none.

        Raises:
            CellError: it raised.
            TimeoutError: it is not done in time.
        """
        if not self._kernel:
            await self.open_kernel()
        message = _execute_request(code, user=self.user)
        address = self.url.join(URL(f"{self.server}api/kernels/{self._kernel}/channels"))
        async with self.http.ws_connect(  # one for each cell: where nobody receives, pings have no answer
            address, max_msg_size=MAX_MESSAGE_BYTES, origin=str(self.url)
        ) as socket:
            await socket.send_json(message)
            result = await asyncio.wait_for(_collect(socket, message["header"]["msg_id"]), timeout_s)
        if result.error:
            raise CellError(f"{code.strip()[:200]}\n{result.text}\n{result.error}")
        return result

    async def run_notebook(self, path: str, *, timeout_s: float = CELL_TIMEOUT_S) -> list[CellResult]:
        """Each code cell of a notebook of the home (``notebooks/01-train.ipynb``) in a kernel of its own.

        ``timeout_s`` is each cell's. Raises CellError naming the cell.
        """
        status, text = await self.api("GET", f"{self.server}api/contents/{path}", at=self.server)
        assert status == 200, f"{path}: {text}"
        await self.close_kernel()
        await self.open_kernel()
        await self.run_cell(f"import os; os.chdir(os.path.join(os.path.expanduser('~'), {str(Path(path).parent)!r}))")
        results = []
        for index, cell in enumerate(json.loads(text)["content"]["cells"]):
            if cell["cell_type"] == "code":
                try:
                    results.append(await self.run_cell("".join(cell["source"]), timeout_s=timeout_s))
                except CellError as error:
                    raise CellError(f"{path}: cell {index}: {error}") from error
        await self.close_kernel()
        return results


def _execute_request(code: str, *, user: str) -> dict[str, Any]:
    """Jupyter's messaging protocol, version 5.3."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "username": user,
        "session": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "version": "5.3",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


async def _collect(socket: aiohttp.ClientWebSocketResponse, request: str) -> CellResult:
    """Everything until the kernel is idle again after this request, and its reply."""
    result = CellResult()
    is_idle = is_answered = False
    while not (is_idle and is_answered):
        message = await socket.receive_json()
        if (message.get("parent_header") or {}).get("msg_id") != request:
            continue
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                result.text += content["text"]
            case "execute_result" | "display_data":
                result.outputs.append(content["data"])
            case "error":
                result.error = "\n".join(content["traceback"])
            case "status":
                is_idle = is_idle or content["execution_state"] == "idle"
            case "execute_reply":
                is_answered = True
    return result
