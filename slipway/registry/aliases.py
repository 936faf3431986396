"""Where a registered model's aliases point, and who moved them there and why.

MLflow records neither, so a move by us leaves a tag on the registered model: ``slipway.alias.<alias>``, a JSON object
``{version, before, who, why, at}``. A tag that names another version than the alias does is of an older move, and says
nothing about the present one: somebody moved the alias past us, e.g. on MLflow's own page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.contract.following import printable
from slipway.registry.errors import InvalidMove, MovedElsewhere, RegistryError, RegistryUnavailable, UnreadableAnswer
from slipway.registry.reference import SCHEME, parse_model_reference
from slipway.registry.rest import RegistryAddress, ask

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)
ALIAS_TAG = "slipway.alias."
MAX_WHO_CHARS = 200
MAX_WHY_CHARS = 1000


@dataclass(frozen=True)
class AliasMove:
    """``before`` is the version that the alias named until then, None for a new alias. ``at`` is RFC 3339, UTC."""

    name: str
    alias: str
    version: str
    before: str | None
    who: str
    why: str
    at: str


@dataclass(frozen=True)
class Pointer:
    """What an alias names now. ``who``, ``why`` and ``at`` are empty where it was not moved by ``move_alias``."""

    version: str
    who: str = ""
    why: str = ""
    at: str = ""


async def read_aliases(
    name: str, *, registry: RegistryAddress, session: aiohttp.ClientSession
) -> Mapping[str, Pointer]:
    """Every alias of a registered model, with one request (MLflow's registered-models/get).

    Raises:
        RegistryError: also ModelNotFound for a model that is not there.
    """
    subject = f"{SCHEME}{name}"
    answer = await ask("registered-models/get", {"name": name}, registry=registry, session=session, subject=subject)
    try:
        model = answer["registered_model"]
        tags = {tag["key"]: tag.get("value", "") for tag in model.get("tags") or ()}
        return {
            item["alias"]: _pointer(str(item["version"]), tags.get(f"{ALIAS_TAG}{item['alias']}"))
            for item in model.get("aliases") or ()
        }
    except (KeyError, TypeError, AttributeError) as exc:
        raise UnreadableAnswer(
            f"{subject}: {registry.uri} answered as MLflow does not ({type(exc).__name__}: {exc})"
        ) from exc


def _pointer(version: str, tag: str | None) -> Pointer:
    said = _parse_tag(tag)
    if said.get("version") != version:
        return Pointer(version)
    who, why, at = (printable(str(said.get(key) or "")) for key in ("who", "why", "at"))
    return Pointer(version, who[:MAX_WHO_CHARS], why[:MAX_WHY_CHARS], at[:MAX_WHO_CHARS])


def _parse_tag(tag: str | None) -> dict[str, Any]:
    """Anybody may write tags: what does not read as one of ours says nothing."""
    try:
        found = json.loads(tag or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def move_alias(
    name: str,
    alias: str,
    version: str,
    *,
    who: str,
    why: str = "",
    only_from: Collection[str] = (),
    registry: RegistryAddress,
    session: aiohttp.ClientSession,
) -> AliasMove:
    """Point ``alias`` of the registered model at ``version`` and leave a record of it.

    ``only_from``: the versions that it may name until now, any without them; MLflow has no comparison of its own, so that
    a move within the same milliseconds is not noticed.

    The record is written first: a controller that looks in between finds one that does not fit the alias yet, and never
    a move without its reason. Where the move itself is refused, the earlier record is put back; where it is not known
    whether it was made, the record stays: it says nothing of an alias that names another version.

    Raises:
        RegistryError: InvalidMove and InvalidModelUri before anything is asked, ModelNotFound for an unknown version,
            MovedElsewhere where the alias names none of ``only_from``.
    """
    for uri in (f"{SCHEME}{name}@{alias}", f"{SCHEME}{name}/{version}"):
        parse_model_reference(uri)
    subject = f"{SCHEME}{name}@{alias} to version {version}"
    check_author(subject, who=who, why=why)

    async def write(path: str, fields: Mapping[str, str]) -> None:
        body = {"name": name, **fields}
        await ask(path, body, registry=registry, session=session, subject=subject, method="POST")

    wanted = {"name": name, "version": version}
    await ask("model-versions/get", wanted, registry=registry, session=session, subject=subject)
    before = (await read_aliases(name, registry=registry, session=session)).get(alias)
    if only_from and before is not None and before.version not in only_from:
        by = f" since {before.who} moved it at {before.at}" if before.who else ""
        raise MovedElsewhere(f"{subject}: it names version {before.version}{by}")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    move = AliasMove(name, alias, version, before.version if before else None, who, why, now)
    tag = {"key": f"{ALIAS_TAG}{alias}", "value": render_tag(move)}
    await write("registered-models/set-tag", tag)
    try:
        await write("registered-models/alias", {"alias": alias, "version": version})
    except RegistryUnavailable:
        raise
    except RegistryError:
        earlier = {"version": before.version, "who": before.who, "why": before.why, "at": before.at} if before else {}
        try:
            await write("registered-models/set-tag", {**tag, "value": json.dumps(earlier)})
        except RegistryError as error:
            log.warning("%s: the record of this move stays although it failed: %s", subject, error)
        raise
    return move


def render_tag(move: AliasMove) -> str:
    """The value of the tag that records a move."""
    fields = {key: value for key, value in asdict(move).items() if key not in ("name", "alias")}
    return json.dumps(fields, ensure_ascii=False)


def check_author(subject: str, *, who: str, why: str) -> None:
    """Raises InvalidMove, which begins with ``subject``, for a record that could not be written."""
    if not who.strip():
        raise InvalidMove(f"{subject}: say who does it")
    for field, text, limit in (("who", who, MAX_WHO_CHARS), ("why", why, MAX_WHY_CHARS)):
        if any("\ud800" <= character <= "\udfff" for character in text):  # bytes of a command line that were none
            raise InvalidMove(f"{subject}: {field} is not UTF-8")
        if len(text) > limit:
            raise InvalidMove(f"{subject}: {field} has {len(text)} characters, at most {limit} are possible")
