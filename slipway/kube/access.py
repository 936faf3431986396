"""Where an API is and how to prove who we are, as one typed value."""

from __future__ import annotations

import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from slipway.kube.errors import ConfigError
from slipway.kube.exec_credential import ExecCredential, Issued

TOKEN_REFRESH_S = 60.0
"""A mounted service account token is rotated by the kubelet: read again when older than this."""
NOTHING = Issued()


@dataclass
class TokenFile:
    """A bearer token in a file that somebody else rotates."""

    path: Path
    _value: str = ""
    _read_at: float = field(default=float("-inf"))

    def read(self) -> str:
        """The token; while the file cannot be read, the one that it held before."""
        if time.monotonic() - self._read_at > TOKEN_REFRESH_S:
            try:
                self._value = self.path.read_text().strip() or self._value
            except OSError as exc:
                if not self._value:
                    raise ConfigError(f"{self.path}: the bearer token cannot be read: {exc.strerror}") from exc
            self._read_at = time.monotonic()
        return self._value

    def renew(self) -> None:
        """Read the file at the next request."""
        self._read_at = float("-inf")


@dataclass(frozen=True)
class Access:
    """How to reach one API server. ``namespace`` is what a command without one means.

    ``plugin`` gives what no other field does. ``acts_as``: the user, uid and groups to impersonate, as headers.
    """

    server: str
    namespace: str = "default"
    token: str | None = field(default=None, repr=False)
    token_file: TokenFile | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    certificate_authority: str | None = field(default=None, repr=False)  # PEM text
    client_certificate: str | None = field(default=None, repr=False)  # PEM text
    client_key: str | None = field(default=None, repr=False)  # PEM text
    skip_verify: bool = False
    server_name: str | None = None
    proxy_url: str | None = None
    plugin: ExecCredential | None = None
    acts_as: tuple[tuple[str, str], ...] = ()
    _contexts: dict[str | None, ssl.SSLContext] = field(default_factory=dict, repr=False, compare=False)

    async def issued(self) -> Issued:
        """What the plug-in gives now, nothing without one. Raises ConfigError."""
        return await self.plugin.current() if self.plugin else NOTHING

    def bearer(self) -> str | None:
        """The token of the kubeconfig itself, or of its file."""
        return self.token_file.read() if self.token_file else self.token

    def headers(self, issued: Issued = NOTHING) -> list[tuple[str, str]]:
        """Those that say who we are."""
        if token := self.bearer() or issued.token:
            return [("Authorization", f"Bearer {token}"), *self.acts_as]
        if self.username:
            return [("Authorization", aiohttp.BasicAuth(self.username, self.password or "").encode()), *self.acts_as]
        return list(self.acts_as)

    def renew(self) -> None:
        """The API did not accept the credentials: those that change are asked for anew."""
        if self.token_file is not None:
            self.token_file.renew()
        if self.plugin is not None:
            self.plugin.renew()

    def ssl_context(self, issued: Issued = NOTHING) -> ssl.SSLContext | None:
        """None for plain HTTP. A context is made once for each client certificate; only the newest is kept. Raises ConfigError."""
        if not self.server.startswith("https://"):
            return None
        certificate = self.client_certificate or issued.certificate
        if certificate not in self._contexts:
            self._contexts.clear()
            self._contexts[certificate] = self._made_context(certificate, self.client_key or issued.key)
        return self._contexts[certificate]

    def _made_context(self, certificate: str | None, key: str | None) -> ssl.SSLContext:
        """The private key passes through a file of mode 0600 that is removed at once."""
        try:
            return self._context(certificate, key)
        except (ssl.SSLError, TypeError, ValueError) as exc:  # TypeError: no ASCII
            what = f"the certificate authority or the client certificate with its key: {exc}"
            raise ConfigError(f"{self.server}: {what}: PEM texts are expected, and the key that fits") from exc

    def _context(self, certificate: str | None, key: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.certificate_authority)
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate and key:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:  # created with mode 0600
                pair.write(f"{certificate}\n{key}\n")
                pair.flush()
                context.load_cert_chain(pair.name)
        return context
