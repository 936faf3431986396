"""What tells callers apart: a header or a cookie of theirs, as the annotations `sticky` and `match` name it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["header", "cookie"]
_HEADER = r"header:(?!x-slipway-|x-envoy-)[a-z0-9][-a-z0-9_]{0,63}"
_COOKIE = r"cookie:[A-Za-z0-9][-A-Za-z0-9_.]{0,63}"
CALLER = rf"({_HEADER}|{_COOKIE})"
"""Headers in lower case, as they are compared; the gateway takes `x-slipway-*` and `x-envoy-*` away from clients."""
GROUP = rf"{CALLER}=[-A-Za-z0-9_.~]{{1,128}}"


@dataclass(frozen=True)
class Caller:
    """``source`` and ``name``; ``value`` where one is meant."""

    source: Source
    name: str
    value: str = ""

    @property
    def condition(self) -> dict[str, Any]:
        """The `headers` of a VirtualService's match that hold where the value is ``value``.

        A Cookie header is ``a=1; b=2`` (RFC 6265, section 4.2.1); Istio's regular expressions match the whole header.
        """
        if self.source == "header":
            return {self.name: {"exact": self.value}}
        pair = f"{self.name}={self.value}".replace(".", "[.]")
        return {"cookie": {"regex": f"(.*;)?[ ]*{pair}[ ]*(;.*)?"}}


def parse_caller(text: str) -> Caller | None:
    """``header:x-user`` or ``cookie:uid``; None for anything else."""
    return _read(text, "") if re.fullmatch(CALLER, text) else None


def parse_group(text: str) -> Caller | None:
    """``header:x-group=b`` or ``cookie:group=b``; None for anything else."""
    key, _, value = text.partition("=")
    return _read(key, value) if re.fullmatch(GROUP, text) else None


def _read(key: str, value: str) -> Caller:
    source, _, name = key.partition(":")
    return Caller("header" if source == "header" else "cookie", name, value)
