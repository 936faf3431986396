"""JupyterHub as people meet it: an account, the administrator, the log-in."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from slipway.onebox.services.hub.sentences import SHUT_OUT
from slipway.onebox.supervisor.procfs import command_line, pids
from tests.e2e.hub import ANNOUNCEMENT, PASSWORD, Hub, HubSession
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: Hub) -> AsyncIterator[HubSession]:
    """Logged in; no server runs."""
    async with HubSession(hub.url, "ada", PASSWORD) as session:
        await hub.let_in(session)
        yield session


async def test_hub_is_a_part_like_any_other(hub: Hub) -> None:
    rows = {row["name"]: row for row in json.loads(hub.platform.slipway("status", "--json"))["processes"]}
    assert {name for name in rows if name.startswith("hub")} == {"hub", "hub-proxy"}
    assert rows["hub"]["is_ready"]
    assert rows["hub-proxy"]["is_ready"]


async def test_second_up_keeps_the_hub_and_installs_nothing(hub: Hub) -> None:
    out = hub.platform.slipway("up")
    assert "installing" not in out
    assert hub.url in out
    assert ("the same user of this machine" in out) == (os.getuid() != 0)


async def test_owners_own_settings_are_read(hub: Hub) -> None:
    async with hub.admin() as admin:
        _, page = await admin.get("/hub/login")
        assert ANNOUNCEMENT in page


async def test_signup_waits_for_the_administrator(hub: Hub) -> None:
    async with HubSession(hub.url, "eve", PASSWORD) as eve:
        assert "sent to the admin" in await eve.sign_up()
        assert not await eve.log_in()
        await hub.let_in(eve)
        status, _ = await eve.get("/hub/authorize")
        assert status == 403


async def test_administrator_has_a_link_to_the_requests(hub: Hub, ada: HubSession) -> None:
    link = 'href="/hub/authorize"'
    async with hub.admin() as admin:
        assert await admin.log_in()
        _, page = await admin.get("/hub/home")
        assert link in page
    _, page = await ada.get("/hub/home")
    assert "/hub/change-password" in page
    assert link not in page


async def test_link_lets_nobody_in_and_discards_nobody(hub: Hub) -> None:
    """What somebody else's page can make the administrator's browser send."""
    async with HubSession(hub.url, "mallory", PASSWORD) as mallory, hub.admin() as admin:
        await mallory.sign_up()
        assert await admin.log_in()
        for path in ("/hub/authorize/mallory", "/hub/discard/mallory"):
            assert (await admin.send("GET", path))[0] == 405
            assert (await admin.send("POST", path, {}))[0] == 403
        assert not await mallory.log_in()
        assert (await mallory.send("GET", "/hub/authorize/mallory"))[0] == 403
        _, page = await admin.get("/hub/authorize")
        assert 'id="mallory"' in page
        await admin.discard("mallory")
        _, page = await admin.get("/hub/authorize")
        assert 'id="mallory"' not in page


async def test_administrator_cannot_shut_out_the_administrator(hub: Hub) -> None:
    async with hub.admin() as admin:
        assert await admin.log_in()
        _, page = await admin.get("/hub/authorize")
        assert 'id="admin"' in page
        assert "/hub/authorize/admin" not in page
        status, said = await admin.submit("/hub/authorize/admin", {}, at="/hub/change-password")  # it always has a form
        assert (status, "you cannot shut yourself out" in said) == (409, True)
    async with hub.admin() as admin:
        assert await admin.log_in()


async def test_whoever_is_shut_out_loses_page_and_server(hub: Hub) -> None:
    async with HubSession(hub.url, "mal", PASSWORD) as mal, hub.admin() as admin:
        await hub.let_in(mal)
        await mal.start_server()
        assert await admin.log_in()
        await admin.authorize("mal")
        assert not (hub.platform.paths.hub_running / "mal.json").exists()

        async def is_out() -> bool:
            return "/hub/logout" not in (await mal.get("/hub/home"))[1]

        await eventually(is_out, what="the end of mal's log-in")
        assert not await mal.log_in()


def preparations(user: str) -> list[int]:
    lines = ((pid, command_line(pid)) for pid in pids())
    return [pid for pid, line in lines if "services.hub.prepare" in line and f"--user {user}" in line]


def is_asked_to_end(pid: int) -> bool:
    """Whether SIGTERM waits for a process that stands still."""
    pending = re.search(r"ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return pending is not None and bool(int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)


async def test_whoever_is_shut_out_while_the_server_starts_gets_none(hub: Hub) -> None:
    running = hub.platform.paths.hub_running / "mia.json"
    async with HubSession(hub.url, "mia", PASSWORD) as mia, hub.admin() as admin:
        await hub.let_in(mia)
        assert await admin.log_in()
        starting = asyncio.create_task(mia.submit("/hub/spawn/mia", {"profile": "minimal"}))
        (preparing,) = await eventually(lambda: preparations("mia"))
        os.kill(preparing, signal.SIGSTOP)  # however fast the machine is
        shutting_out = asyncio.create_task(admin.authorize("mia"))
        await eventually(lambda: is_asked_to_end(preparing), what="the end of mia's preparation is asked for")
        os.kill(preparing, signal.SIGCONT)
        await asyncio.gather(starting, shutting_out)

        async def is_told() -> bool:
            return SHUT_OUT in (hub.platform.paths.logs / "hub.log").read_text()

        await eventually(is_told, what="the end of mia's start")
        await eventually(lambda: not running.exists(), what="the end of what mia's start began")

        async def has_form() -> bool:
            """Of the next server, while the log-in lasts; else of the log-in."""
            return 'name="_xsrf"' in (await mia.get("/hub/spawn/mia"))[1]

        await eventually(has_form, what="a page on which mia could start another server")
        _, page = await mia.submit("/hub/spawn/mia", {"profile": "minimal"})
        assert 'id="progress-bar"' not in page, "the page that shows how a server starts"
        await admin.authorize("mia")
        assert await mia.log_in()
        assert not await mia.has_server()


@pytest.mark.parametrize("form", [{"username": "ada"}, {"password": PASSWORD}, {}])
async def test_login_that_is_not_whole_is_refused(hub: Hub, form: dict[str, str]) -> None:
    async with HubSession(hub.url, "ada", PASSWORD) as nobody:
        assert (await nobody.submit("/hub/login", form))[0] == 400


async def test_password_that_bcrypt_refuses_is_a_wrong_one(hub: Hub, ada: HubSession) -> None:
    async with HubSession(hub.url, "ada", "x" * 73) as nobody:
        status, page = await nobody.submit("/hub/login", {"username": "ada", "password": "x" * 73})
        assert (status, "Invalid username or password" in page) == (200, True)
    form = dict.fromkeys(("old_password", "new_password", "new_password_confirmation"), "y" * 73)
    assert (await ada.submit("/hub/change-password", form))[0] == 400


@pytest.mark.parametrize("path", ["/hub/login", "/hub/signup", "/hub/change-password"])
async def test_password_button_needs_no_font_of_emoji(ada: HubSession, hub: Hub, path: str) -> None:
    session = ada if path == "/hub/change-password" else hub.admin()
    if session is ada:
        _, page = await ada.get(path)
    else:
        async with session:
            _, page = await session.get(path)
    assert 'id="eye"' in page
    assert '"Show" : "Hide"' in page


@pytest.mark.parametrize(
    ("name", "password", "says"),
    [
        ("admin", PASSWORD, "already in use"),
        ("idle-culler", PASSWORD, "is a name of the hub"),
        ("../mallory", PASSWORD, "single hyphens"),
        ("mallory_", PASSWORD, "single hyphens"),  # no namespace could have its name
        ("m" * 33, PASSWORD, "32 characters at most"),
        ("mallory", "short", "at least 10 characters"),
        ("mallory", "x" * 73, "at most 72 bytes"),  # bcrypt would cut it
    ],
)
async def test_signup_that_cannot_be_is_refused(hub: Hub, name: str, password: str, says: str) -> None:
    async with HubSession(hub.url, name, password) as mallory:
        page = await mallory.sign_up()
        assert "sent to the admin" not in page
        assert says in page
        assert not await mallory.log_in()
