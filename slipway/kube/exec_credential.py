"""Credentials from a program that a kubeconfig names (gke-gcloud-auth-plugin, aws, kubelogin): the ExecCredential protocol.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.kube.boot_clock import boot_time
from slipway.kube.errors import ConfigError

API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
KIND = "ExecCredential"
INFO = "KUBERNETES_EXEC_INFO"
RUN_S = 60.0
"""A plug-in may talk to a cloud's login service."""
PAUSE_S = 10.0
"""Between two runs: an API that refuses what the plug-in gives must not start it for each request."""
EARLY_S = 30.0
"""A credential is renewed this long before it ends."""
MAX_OUTPUT_BYTES = 1024 * 1024
SHOWN_CHARS = 300


@dataclass(frozen=True)
class Issued:
    """What a plug-in gave: a bearer token, a client certificate with its key (PEM texts), or both."""

    token: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    """Unix seconds; None: until the API refuses it."""


@dataclass(frozen=True)
class ExecSpec:
    """``users[].user.exec`` of a kubeconfig. ``where`` names it in errors; ``cluster`` is told where it was asked for."""

    where: str
    api_version: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    cluster: Mapping[str, Any] | None = None

    @property
    def info(self) -> str:
        """What the plug-in finds in ``KUBERNETES_EXEC_INFO``."""
        spec = {"interactive": False, **({"cluster": dict(self.cluster)} if self.cluster is not None else {})}
        return json.dumps({"apiVersion": self.api_version, "kind": KIND, "spec": spec})


@dataclass
class ExecCredential:
    """Runs the plug-in when it must; everybody who waits meanwhile gets the same answer.

    ``clock`` is what the plug-in's own times are compared with, and may be set; ``ticks`` tells how long ago it ran.
    """

    spec: ExecSpec
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = boot_time
    _issued: Issued | None = None
    _ran_at: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> Issued:
        """Raises ConfigError with what the plug-in said."""
        async with self._lock:
            if self._issued is None or self._is_over(self._issued):
                self._issued = parse_credential(await _run(self.spec), self.spec)
                self._ran_at = self.ticks()
            return self._issued

    def renew(self) -> None:
        """The API refused it: ask for another, unless this one is new."""
        if self._may_run():
            self._issued = None

    def _is_over(self, issued: Issued) -> bool:
        return issued.expires_at is not None and self.clock() >= issued.expires_at - EARLY_S and self._may_run()

    def _may_run(self) -> bool:
        return self.ticks() - self._ran_at >= PAUSE_S


def parse_credential(text: bytes, spec: ExecSpec) -> Issued:
    """The plug-in's standard output → what it gives. Raises ConfigError."""
    try:
        given = json.loads(text)
        status = given["status"]
        version, kind = given.get("apiVersion"), given.get("kind")
        expires = status.get("expirationTimestamp")
        expires_at = datetime.fromisoformat(expires).timestamp() if expires else None
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise ConfigError(f"{spec.where}: {spec.argv[0]} wrote no {KIND} with a status") from exc
    if (version, kind) != (spec.api_version, KIND):
        raise ConfigError(f"{spec.where}: {spec.argv[0]} wrote {version} {kind}, expected {spec.api_version} {KIND}")
    parts = [status.get(name) or None for name in ("token", "clientCertificateData", "clientKeyData")]
    if not all(part is None or isinstance(part, str) for part in parts):
        raise ConfigError(f"{spec.where}: {spec.argv[0]}: token, clientCertificateData and clientKeyData must be texts")
    token, certificate, key = parts
    if (certificate is None) != (key is None) or (token is None and certificate is None):
        raise ConfigError(f"{spec.where}: {spec.argv[0]} gave neither a token nor a certificate with its key")
    return Issued(token, certificate, key, expires_at)


async def _run(spec: ExecSpec) -> bytes:
    env = {**os.environ, **dict(spec.env), INFO: spec.info}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *spec.argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=env, start_new_session=True
        )
    except OSError as exc:
        hint = f": {spec.hint}" if spec.hint else ""
        raise ConfigError(f"{spec.where}: {spec.argv[0]}: {exc.strerror}{hint}") from exc
    try:
        async with asyncio.timeout(RUN_S):
            out, told, _ = await asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
    except BaseException as exc:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and nothing of its group is left
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
        if isinstance(exc, TimeoutError):
            raise ConfigError(f"{spec.where}: {spec.argv[0]} has not ended within {RUN_S:g} s") from exc
        raise
    if process.returncode != 0:
        words = told.decode(errors="replace").strip()[-SHOWN_CHARS:]
        raise ConfigError(f"{spec.where}: {spec.argv[0]} ended with {process.returncode}: {words}")
    if len(out) > MAX_OUTPUT_BYTES:
        raise ConfigError(f"{spec.where}: {spec.argv[0]} wrote more than {MAX_OUTPUT_BYTES} bytes")
    return out


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All of it; of what is too long only a little more than the limit is kept."""
    kept = b""
    while stream is not None and (chunk := await stream.read(65536)):
        if len(kept) <= MAX_OUTPUT_BYTES:
            kept += chunk
    return kept
