"""Who may pass the gateway, in Envoy's words but free of its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["ALLOW", "DENY"]
ConditionKind = Literal["never", "claim", "header", "path", "direct_ip", "remote_ip"]


@dataclass(frozen=True)
class KeySource:
    """Where an issuer's keys are fetched. ``address``: of ``host`` where it is known, else a resolver is asked.

    ``authorities``: a file of those whose certificate the host has to show; empty: it is asked in the clear.
    """

    uri: str
    host: str
    address: str
    port: int
    authorities: str
    timeout_s: float

    @property
    def cluster(self) -> str:
        return f"keys|{self.port}|{'https' if self.authorities else 'http'}|{self.host}"


@dataclass(frozen=True)
class JwtRule:
    """Tokens of one issuer. ``jwks`` is the JSON of its keys, or they are fetched from ``source``; without a key none is valid."""

    issuer: str
    jwks: str
    source: KeySource | None = None
    audiences: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    forwards: bool = False
    payload_header: str = ""
    claim_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Condition:
    """One of ``values`` holds, or with ``negated`` none of them.

    ``key`` is a header's name, or the path of a claim with a tab between its parts. Values are Istio's: ``a``, ``a*``,
    ``*a``, ``*`` for any; of addresses CIDR blocks.
    """

    kind: ConditionKind
    values: tuple[str, ...] = ()
    key: str = ""
    negated: bool = False


Conditions = tuple[Condition, ...]
"""All of them hold."""


@dataclass(frozen=True)
class Rule:
    """Any of ``sources`` and any of ``operations`` holds; an empty tuple of conditions always does."""

    sources: tuple[Conditions, ...] = ((),)
    operations: tuple[Conditions, ...] = ((),)


@dataclass(frozen=True)
class Policy:
    """Holds for a request where any of its rules does; without rules for none.

    DENY comes first; where there is an ALLOW policy, one has to hold.
    """

    name: str
    action: Action
    rules: tuple[Rule, ...]
