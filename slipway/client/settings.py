"""What a client can be told, with its defaults and its limits."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict, get_args

from slipway.client.errors import InvalidTls
from slipway.client.forms import FORMS, GRPC_FORMS, Form
from slipway.contract.limits import MAX_BODY_BYTES

Transport = Literal["rest", "grpc"]
CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 30.0
ATTEMPTS = 3
MAX_ATTEMPTS = 10
MAX_RETRY_AFTER_S = 30.0
"""A server that wants a longer pause gets its answer reported instead."""
AT_ONCE = 4
"""Photos of ``detect_many`` that are under way together."""
MAX_AT_ONCE = 64
MAX_REPLY_BYTES = 4 * MAX_BODY_BYTES
"""As the executor's own limit of a node's answer."""


@dataclass(frozen=True)
class Tls:
    """PEM files. Without ``ca_file`` the system's authorities are trusted; the other two are the client's own pair."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises InvalidTls."""
        if self.key_file is not None and self.certificate_file is None:
            raise InvalidTls(f"key_file={self.key_file}: certificate_file is missing: a key alone is no identity")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as exc:  # also what is wrong inside of a file
            files = ", ".join(str(path) for path in (self.ca_file, self.certificate_file, self.key_file) if path)
            raise InvalidTls(f"{files}: {exc.strerror or exc}: PEM files are expected") from exc
        return context

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Contents of authority, key and certificate, in the order that gRPC takes them. Raises InvalidTls."""
        self.context()  # gRPC itself says nothing of files that are none
        authority, key, certificate = (
            path.read_bytes() if path else None for path in (self.ca_file, self.key_file, self.certificate_file)
        )
        return authority, key, certificate


class Options(TypedDict, total=False):
    """Keywords of both clients; each may be left out."""

    transport: Transport
    form: Form
    token: str
    headers: Mapping[str, str]
    tls: Tls
    timeout_s: float
    attempts: int


@dataclass(frozen=True)
class Settings:
    """``token`` is sent as a bearer token, ``headers`` (gRPC: metadata) with every request.

    ``timeout_s`` is for one call with all its retries, ``attempts`` how often it is tried in all. Only what cannot be
    done twice by it is retried: a connection that was never made, and 503 (gRPC: UNAVAILABLE) with Retry-After.
    """

    transport: Transport = "rest"
    form: Form = "binData"
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = field(default_factory=Tls)
    timeout_s: float = TIMEOUT_S
    attempts: int = ATTEMPTS

    def __post_init__(self) -> None:
        if self.transport not in get_args(Transport):
            raise ValueError(f"transport={self.transport!r} is not one of {', '.join(get_args(Transport))}")
        forms = GRPC_FORMS if self.transport == "grpc" else FORMS
        if self.form not in forms:
            raise ValueError(f"form={self.form!r} is not one of {', '.join(forms)} (transport={self.transport})")
        if not 0 < self.timeout_s < float("inf"):
            raise ValueError(f"timeout_s={self.timeout_s!r}: seconds above 0 are expected")
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts={self.attempts!r} is not within 1..{MAX_ATTEMPTS}")
        for name, value in self.sent_headers.items():
            text = name + value
            if not (name and text.isprintable() and text.isascii()) or ":" in name or " " in name:
                raise ValueError(f"the header {name!r} or its value has a character that no header can have")

    @property
    def sent_headers(self) -> dict[str, str]:
        """Names in lower case, as gRPC wants them and HTTP does not mind."""
        bearer = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return {**bearer, **{name.lower(): value for name, value in self.headers.items()}}
