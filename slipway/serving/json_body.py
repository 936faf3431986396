"""JSON bodies: bytes to Python and back, with a bound on the nesting."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_JSON_DEPTH, MAX_VALUES

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"[^"]*"')
_NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b'"[]{}')))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def json_depth(body: bytes) -> int:
    """How deep the arrays and objects of valid JSON nest; an upper bound below the limit, and of anything else.

    Each round removes the innermost pairs, so the number of rounds is the depth, without a step for every bracket.
    """
    openings = body.count(b"[") + body.count(b"{")
    if openings <= MAX_JSON_DEPTH:
        return openings
    brackets = _brackets(body).translate(_ONE_KIND, b'"')
    depth = 0
    while brackets and depth <= MAX_JSON_DEPTH:
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return depth + len(brackets)
        brackets, depth = shorter, depth + 1
    return depth


def _brackets(body: bytes) -> bytes:
    """The brackets and braces of valid JSON that are not inside of strings, and a quotation mark here and there."""
    if b"\\" in body:
        body = _ESCAPE.sub(b"", body)
    return _STRING.sub(b"", body.translate(None, _NOT_STRUCTURE))


def _has_too_many_containers(body: bytes) -> bool:
    """An empty list takes three bytes of JSON and sixty of memory."""
    if len(body) <= 2 * MAX_VALUES or body.count(b"[") + body.count(b"{") <= MAX_VALUES:
        return False
    brackets = _brackets(body)
    return brackets.count(b"[") + brackets.count(b"{") > MAX_VALUES


def parse_json(body: bytes | str, *, what: str = "the body") -> Any:
    """The value of a UTF-8 JSON text; NaN and Infinity are taken, as Seldon's clients send them.

    Raises ServingError 400 for anything that is no JSON, nests deeper than MAX_JSON_DEPTH, has more than MAX_VALUES lists
    and objects, absurd numbers or texts that have no UTF-8 form.
    """
    raw = body.encode(errors="surrogatepass") if isinstance(body, str) else body
    if _has_too_many_containers(raw):
        raise ServingError(f"{what} has more than {MAX_VALUES} lists and objects")
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise ServingError(f"{what} is not JSON: not UTF-8 at byte {exc.start}") from exc
    except RecursionError as exc:
        raise _too_deep(what) from exc
    except ValueError as exc:
        raise ServingError(f"{what} is not JSON: {exc}") from exc
    if _has_nested(value) and json_depth(raw) > MAX_JSON_DEPTH:
        raise _too_deep(what)
    if b"\\u" in raw and _SURROGATE.search(raw) and _has_half_pair(value):
        raise ServingError(f"{what} holds half of a surrogate pair: no text has one")
    return value


def _has_half_pair(value: Any) -> bool:
    """Whether a string or a key anywhere in it has no UTF-8 form; the depth is bounded by now."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return True
        return False
    if isinstance(value, dict):
        return any(_has_half_pair(key) or _has_half_pair(member) for key, member in value.items())
    return isinstance(value, list) and any(map(_has_half_pair, value))


def _has_nested(value: Any) -> bool:
    """False for scalars and flat values: a photo in base64 need not be searched for brackets."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(member, (dict, list)) for member in members)


def _too_deep(what: str) -> ServingError:
    return ServingError(f"{what} nests deeper than {MAX_JSON_DEPTH} levels")


def dump_json(value: Any) -> bytes:
    """Compact JSON; NaN and infinities stay bare words, as Seldon's wrapper writes them; numpy's numbers are numbers.

    Dates, UUIDs and decimals are texts. Raises TypeError or ValueError for what has no JSON form.
    """
    return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    """As Flask's JSON, through which Seldon's wrapper answers: dates as RFC 822 has them, what has no zone is UTC."""
    if callable(to_list := getattr(value, "tolist", None)):
        return to_list()
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
        return format_datetime((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC), usegmt=True)
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
