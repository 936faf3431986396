"""Replays recorded request/response pairs of a real kube-apiserver against our API, and compares what comes back."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from tests.data import KUBE_API

TOKEN = "replay-token-of-the-administrator"
ACCOUNT_TOKEN = "replay-token-of-the-service-account"
RANDOM = "[bcdfghjklmnpqrstvwxz2456789]{5}"
MASKS = re.compile(
    r"<uid(?P<uid>\d+)>|(?<![\w-])rv(?P<rv>\d+)\b|<(?P<time>time)>|<(?P<micro>microtime)>|<random(?P<random>\d+)>"
    r"|<(?P<pem>pem)>|<podIP>|containerd://<id>|kube-api-access-<random>|<jwt>"
)
CONTINUE = re.compile(r'<continue v=\S+ rv=(?P<rv>rv\d+|-1) start="(?P<start>.*?)">', re.DOTALL)
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
MICROTIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"


DISCOVERY_KINDS = ("APIGroupList", "APIResourceList", "APIGroupDiscoveryList")


@dataclass(frozen=True)
class Action:
    """An unrecorded request of the recorder: made before the pair ``before``, or while its stream is open."""

    method: str
    path: str
    body: Any = None
    media: str = "application/json"
    query: dict[str, str] = field(default_factory=dict)
    uid: str = ""  # the mask of the answer's uid, where later pairs need it


class Mismatch(AssertionError):
    """Where and how an answer differs."""


class Bindings:
    """What the masks stand for in this run."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._pinned: set[str] = set()
        self._guessed: set[str] = set()  # versions that a request needed before any answer showed them

    def bind(self, mask: str, value: str, where: str) -> None:
        if mask in self._guessed:
            self._guessed.discard(mask)
            self.values[mask] = value
        if self.values.setdefault(mask, value) != value:
            raise Mismatch(f"{where}: {mask} was {self.values[mask]}, now {value}")

    def pin(self, mask: str, value: str) -> None:
        """A version chosen by hand, which has no place in the order."""
        self.values[mask] = value
        self._pinned.add(mask)

    def known(self, mask: str) -> str | None:
        return None if mask in self._guessed else self.values.get(mask)

    def known_text(self, text: str) -> str:
        return MASKS.sub(lambda match: self.known(match[0]) or match[0], text)

    def guess(self, mask: str, value: str) -> None:
        """A version that a later request needs; an answer may still correct it."""
        self.values[mask] = value
        self._guessed.add(mask)

    def check_order(self) -> None:
        """Resource versions are numbered in increasing order."""
        known = sorted(
            (int(mask[2:]), int(value))
            for mask, value in self.values.items()
            if mask.startswith("rv") and mask not in self._guessed | self._pinned
        )
        for (low, old), (high, new) in itertools.pairwise(known):
            if old > new:
                raise Mismatch(f"rv{low} is {old} and rv{high} is {new}")

    def fill(self, text: str, *, version: str) -> str:
        """A request's text with this run's values; an unknown version is the current one."""
        text = CONTINUE.sub(lambda match: self._token(match, version), text)

        def value(match: re.Match[str]) -> str:
            if match["rv"] and match[0] not in self.values:
                self.guess(match[0], version)
            if match["micro"]:
                return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
            if match["time"]:
                return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            mask = match[0]
            return self.values.get(mask, mask)

        return MASKS.sub(value, text)

    def _token(self, match: re.Match[str], version: str) -> str:
        number = self.values.get(match["rv"], version)
        start = json.loads(f'"{match["start"]}"')
        raw = json.dumps({"v": "meta.k8s.io/v1", "rv": int(number), "start": start}, separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def load_pairs(theme: str) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = json.loads((KUBE_API / f"{theme}.json").read_text())["pairs"]
    for pair in pairs:  # both servers offer kinds that the other does not have
        body = pair["response"].get("body")
        if isinstance(body, dict) and body.get("kind") in DISCOVERY_KINDS:
            pair["trimmed"] = True
    return pairs


def compare(expected: Any, actual: Any, bindings: Bindings, where: str = "body") -> None:
    """Equal but for the masks. Raises Mismatch."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        _compare_objects(expected, actual, bindings, where)
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            raise Mismatch(f"{where}: {len(expected)} entries expected, {len(actual)} came: {actual}")
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            compare(one, other, bindings, f"{where}[{index}]")
    elif isinstance(expected, str) and isinstance(actual, str):
        compare_text(expected, actual, bindings, where)
    elif expected != actual or isinstance(expected, bool) != isinstance(actual, bool):
        raise Mismatch(f"{where}: {expected!r} expected, {actual!r} came")


# Not masked and not to be compared (README of the recording): addresses come from another range here, and the
# definition of a built-in kind's column carries Kubernetes' documentation, which is not ours to repeat.
SKIPPED = {"clusterIP", "clusterIPs", "description", "ca.crt"}


def _compare_objects(expected: dict[str, Any], actual: dict[str, Any], bindings: Bindings, where: str) -> None:
    expected = {bindings.known_text(key): value for key, value in expected.items()}
    missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
    if missing or extra:
        raise Mismatch(f"{where}: missing {sorted(missing)}, not expected {sorted(extra)}: {json.dumps(actual)[:600]}")
    if isinstance(expected.get("causes"), list) and isinstance(actual.get("causes"), list):
        # the schema validator walks a Go map: its order is random
        expected = {**expected, "causes": sorted(expected["causes"], key=str)}
        actual = {**actual, "causes": sorted(actual["causes"], key=str)}
    if isinstance(expected.get("managedFields"), list) and isinstance(actual.get("managedFields"), list):
        # sorted by their times, which are whole seconds: a run may or may not cross one where the recorder did
        expected = {**expected, "managedFields": sorted(expected["managedFields"], key=_writer)}
        actual = {**actual, "managedFields": sorted(actual["managedFields"], key=_writer)}
    for key, value in expected.items():
        if key in SKIPPED:
            continue
        if key == "continue" and value:
            _compare_token(value, str(actual[key]), bindings, f"{where}.{key}")
        elif key == "message" and isinstance(actual[key], str) and "is invalid: [" in str(value):
            parts = [sorted(str(text).partition(": [")[2].rstrip("]").split(", ")) for text in (value, actual[key])]
            compare(*parts, bindings, f"{where}.{key}")
        elif key == "cells":
            _compare_cells(value, actual[key], bindings, where)
        else:
            compare(value, actual[key], bindings, f"{where}.{key}")


def _writer(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(entry.get(key, "")) for key in ("operation", "manager", "apiVersion", "subresource"))


def _compare_cells(expected: list[Any], actual: list[Any], bindings: Bindings, where: str) -> None:
    age = re.compile(r"(\d+[smhd])+|<unknown>")
    if len(expected) != len(actual):
        raise Mismatch(f"{where}.cells: {expected} expected, {actual} came")
    for one, other in zip(expected, actual, strict=True):
        if not (isinstance(one, str) and age.fullmatch(one) and age.fullmatch(str(other))):
            compare(one, other, bindings, f"{where}.cells")


def _compare_token(expected: str, actual: str, bindings: Bindings, where: str) -> None:
    match = CONTINUE.fullmatch(expected)
    if match is None:
        raise Mismatch(f"{where}: {expected}")
    token = json.loads(base64.urlsafe_b64decode(actual + "=" * (-len(actual) % 4)))
    if match["rv"] == "-1":
        compare(-1, token["rv"], bindings, where)
    else:
        bindings.bind(match["rv"], str(token["rv"]), where)
    compare(json.loads(f'"{match["start"]}"'), token["start"], bindings, where)


def compare_text(expected: str, actual: str, bindings: Bindings, where: str) -> None:
    masks: list[str] = []
    pattern, last = "", 0
    for match in MASKS.finditer(expected):
        pattern += re.escape(expected[last : match.start()])
        last = match.end()
        known = bindings.known(match[0])
        if known is not None:
            pattern += re.escape(known)
        elif match["time"]:
            pattern += TIME
        elif match["micro"]:
            pattern += MICROTIME
        else:
            kinds = {"uid": r"[0-9a-f-]{36}", "rv": r"\d+", "random": RANDOM}
            kind = next((text for name, text in kinds.items() if match[name]), ".*")
            masks.append(match[0])
            pattern += f"({kind})"
    pattern += re.escape(expected[last:])
    found = re.fullmatch(pattern, actual, re.DOTALL)
    if found is None:
        raise Mismatch(f"{where}: {expected!r} expected, {actual!r} came")
    for mask, value in zip(masks, found.groups(), strict=True):
        bindings.bind(mask, value, where)


class Replay:
    """One theme against one server."""

    def __init__(self, session: aiohttp.ClientSession, base: str, bindings: Bindings) -> None:
        self._session = session
        self._base = base
        self._bindings = bindings

    async def act(self, action: Action) -> dict[str, Any]:
        headers = {"Content-Type": action.media, "Authorization": f"Bearer {TOKEN}"}
        body = None if action.body is None else await self._filled(json.dumps(action.body))
        async with self._session.request(
            action.method,
            self._base + await self._filled(action.path),
            data=body,
            headers=headers,
            params=action.query,
            skip_auto_headers=("User-Agent",),
        ) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            assert response.status < 400, (action, answer)
            if action.uid:
                self._bindings.bind(action.uid, answer["metadata"]["uid"], action.path)
            return answer

    async def _filled(self, text: str) -> str:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        version = "0"
        if MASKS.search(text) or CONTINUE.search(text):
            async with self._session.get(f"{self._base}/api/v1/namespaces", headers=headers) as response:
                version = (await response.json())["metadata"]["resourceVersion"]
        return self._bindings.fill(text, version=version)

    async def pair(self, pair: dict[str, Any], during: tuple[Action, ...]) -> None:
        """Send one pair's request and compare. Raises Mismatch."""
        request, expected = pair["request"], pair["response"]
        headers = dict(request.get("headers") or {})
        token = {"admin": TOKEN, "bad-token": "nonsense", "sa": ACCOUNT_TOKEN}.get(request["as"])
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = request.get("body")
        if body is not None:
            body = await self._filled(body if isinstance(body, str) else json.dumps(body))
        query = {key: await self._filled(str(value)) for key, value in (request.get("query") or {}).items()}
        task: asyncio.Task[None] | None = None
        if during:
            task = asyncio.create_task(self._act_all(during))
        async with self._session.request(
            request["method"],
            self._base + await self._filled(request["path"]),
            data=body,
            headers=headers,
            params=query,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
            allow_redirects=False,
        ) as response:
            if "stream" in expected and response.status == 200 and expected["stream"] is not None:
                await self._stream(pair, response)
            else:
                text = await response.text()
                self._compare_answer(pair, response, text)
        if task is not None:
            await task

    async def _act_all(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            await self.act(action)

    def _compare_answer(self, pair: dict[str, Any], response: aiohttp.ClientResponse, text: str) -> None:
        expected = pair["response"]
        if response.status != expected["status"]:
            raise Mismatch(f"status {expected['status']} expected, {response.status} came: {text[:500]}")
        self._compare_headers(expected.get("headers") or {}, response)
        body = expected["stream"][0] if expected.get("stream") else expected.get("body")
        if pair.get("trimmed"):
            _compare_trimmed(body, text, self._bindings)
        elif isinstance(body, str):
            compare_text(body, text, self._bindings, "body")
        else:
            compare(body, json.loads(text), self._bindings)

    @staticmethod
    def _compare_headers(expected: dict[str, Any], response: aiohttp.ClientResponse) -> None:
        for name in ("Content-Type", "Retry-After", "Cache-Control"):
            if name in expected and expected[name] != response.headers.get(name):
                raise Mismatch(f"{name}: {expected[name]!r} expected, {response.headers.get(name)!r} came")
        warnings = expected.get("Warning") or []
        warnings = [warnings] if isinstance(warnings, str) else warnings
        if warnings != response.headers.getall("Warning", []):
            raise Mismatch(f"Warning: {warnings} expected, {response.headers.getall('Warning', [])} came")

    async def _stream(self, pair: dict[str, Any], response: aiohttp.ClientResponse) -> None:
        expected = pair["response"]
        self._compare_headers({"Content-Type": expected["headers"].get("Content-Type")}, response)
        lines = []
        try:
            async with asyncio.timeout(12):
                async for line in response.content:
                    lines.append(line.decode().rstrip("\n"))
                    if expected["ended"] != "by the server" and len(lines) == len(expected["stream"]):
                        break
        except TimeoutError:
            pass
        wanted = [line for line in expected["stream"] if not _is_bookmark(line)]
        events = [line if not line.startswith("{") else json.loads(line) for line in lines]
        bookmarks = [event for event in events if _is_bookmark(event)]
        compare(wanted, [event for event in events if not _is_bookmark(event)], self._bindings, "stream")
        for line in expected["stream"]:
            if _is_bookmark(line) and not any(_alike(line, bookmark) for bookmark in bookmarks):
                raise Mismatch(f"stream: no bookmark like {line}: {bookmarks}")


def _is_bookmark(event: Any) -> bool:
    return isinstance(event, dict) and event.get("type") == "BOOKMARK"


def _alike(expected: dict[str, Any], actual: dict[str, Any]) -> bool:
    """A bookmark's version depends on when it is sent, and so is not compared."""
    one, other = (json.loads(json.dumps(event)) for event in (expected, actual))
    for event in (one, other):
        event["object"]["metadata"].pop("resourceVersion")
    return bool(one == other)


def _compare_trimmed(expected: Any, text: str, bindings: Bindings) -> None:
    """A body that was cut by hand: what is left must be there."""
    if isinstance(expected, str):
        return
    actual = json.loads(text)
    if isinstance(expected, dict) and "items" in expected and isinstance(expected["items"], str):
        return
    if isinstance(expected, dict) and "items" in expected and all(isinstance(i, str) for i in expected["items"]):
        rows = [f"{i['metadata']['name']} {json.dumps(i['metadata'].get('labels'))}" for i in actual["items"]]
        compare(expected["items"], rows, bindings, "items")
        compare(expected["metadata"], actual["metadata"], bindings, "metadata")
        return
    compare(*_served(expected, _cut(expected, actual)), bindings)


def _served(expected: Any, actual: Any) -> tuple[Any, Any]:
    """Discovery documents reduced to the groups and kinds that both servers offer: there must be some."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        pairs = {key: _served(expected[key], actual[key]) for key in expected.keys() & actual.keys()}
        one = {key: pairs[key][0] if key in pairs else value for key, value in expected.items()}
        return one, {key: pairs[key][1] if key in pairs else value for key, value in actual.items()}
    if not (isinstance(expected, list) and isinstance(actual, list)):
        return expected, actual
    theirs, ours = ({_identity(item): item for item in items} for items in (expected, actual))
    both = [name for name in theirs if name in ours]
    if None in theirs or not both:
        return expected, actual
    compared = [_served(theirs[name], _cut(theirs[name], ours[name])) for name in sorted(both)]
    return [one for one, _ in compared], [other for _, other in compared]


def _identity(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    name = item.get("name") or item.get("resource") or item.get("subresource") or item.get("version")
    return name or (item["metadata"].get("name", "core") if "metadata" in item else None)


def _cut(expected: Any, actual: Any) -> Any:
    """``actual`` without the keys that the cut left out."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: _cut(expected[key], value) for key, value in actual.items() if key in expected}
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [_cut(one, other) for one, other in zip(expected, actual, strict=True)]
    return actual
