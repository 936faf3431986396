"""A kubeconfig, or a Pod's own service account, as one typed value: where the API is and how to prove who we are."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slipway.kube.errors import ConfigError

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_REFRESH_S = 60.0
"""A mounted service account token is rotated by the kubelet: read again when older than this."""
MAX_KUBECONFIG_BYTES = 4 * 1024 * 1024


@dataclass
class TokenFile:
    """A bearer token in a file that somebody else rotates."""

    path: Path
    _value: str = ""
    _read_at: float = field(default=float("-inf"))

    def read(self) -> str:
        if time.monotonic() - self._read_at > TOKEN_REFRESH_S:
            try:
                self._value = self.path.read_text().strip()
            except OSError as exc:
                raise ConfigError(f"{self.path}: the bearer token cannot be read: {exc.strerror}") from exc
            self._read_at = time.monotonic()
        return self._value


@dataclass(frozen=True)
class Access:
    """How to reach one API server. ``namespace`` is what a command without one means."""

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

    def bearer(self) -> str | None:
        return self.token_file.read() if self.token_file else self.token

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for plain HTTP. The private key passes through a file of mode 0600 that is removed at once."""
        if not self.server.startswith("https://"):
            return None
        context = ssl.create_default_context(cadata=self.certificate_authority)
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate and self.client_key:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:  # created with mode 0600
                pair.write(f"{self.client_certificate}\n{self.client_key}\n")
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


def load_access(path: str | Path | None = None, *, context: str | None = None) -> Access:
    """The first that is there: ``path``, the files of ``KUBECONFIG``, the Pod's service account, ``~/.kube/config``.

    Raises ConfigError naming the file and the entry that is wrong.
    """
    if path is not None:
        return parse_kubeconfig(_load(Path(path)), origin=Path(path), context=context)
    files = [Path(item) for item in os.environ.get("KUBECONFIG", "").split(os.pathsep) if item]
    if files:
        present = [item for item in files if item.exists()]
        if not present:
            raise ConfigError(f"KUBECONFIG names {', '.join(map(str, files))}: no such file")
        return parse_kubeconfig(_merged(present), origin=present[0], context=context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT_FOLDER / "token").exists():
        return in_cluster()
    default = Path.home() / ".kube" / "config"
    if default.exists():
        return parse_kubeconfig(_load(default), origin=default, context=context)
    raise ConfigError(f"no kubeconfig: set KUBECONFIG or write {default}; `slipway up` writes one for this machine")


def in_cluster(folder: Path = SERVICE_ACCOUNT_FOLDER) -> Access:
    """The access of a Pod through its mounted service account."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = folder / "namespace"
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        token_file=TokenFile(folder / "token"),
        certificate_authority=(folder / "ca.crt").read_text(),
    )


def parse_kubeconfig(config: Mapping[str, Any], *, origin: Path, context: str | None = None) -> Access:
    """The access of one context of a loaded kubeconfig; ``origin`` names it in errors and resolves relative paths."""
    wanted = context or config.get("current-context")
    if not wanted:
        raise ConfigError(f"{origin}: current-context is empty: set it, or choose a context by name")
    chosen = _entry(config, "contexts", "context", wanted, origin=origin)
    cluster = _entry(config, "clusters", "cluster", chosen.get("cluster"), origin=origin)
    user = _entry(config, "users", "user", chosen["user"], origin=origin) if chosen.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise ConfigError(
                f"{origin}: users[{chosen['user']}].{plugin}: credential plug-ins are not supported: use a token or a client certificate"
            )
    server = str(cluster.get("server") or "")
    if not server.startswith(("http://", "https://")):
        raise ConfigError(f"{origin}: clusters[{chosen.get('cluster')}].server: {server!r} is not an http(s) address")
    token_file = user.get("tokenFile")
    return Access(
        server=server.rstrip("/"),
        namespace=chosen.get("namespace") or "default",
        token=user.get("token"),
        token_file=TokenFile(_beside(origin, token_file)) if token_file else None,
        username=user.get("username"),
        password=user.get("password"),
        certificate_authority=_pem(cluster, "certificate-authority", origin=origin),
        client_certificate=_pem(user, "client-certificate", origin=origin),
        client_key=_pem(user, "client-key", origin=origin),
        skip_verify=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name"),
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MAX_KUBECONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_KUBECONFIG_BYTES} bytes: not a kubeconfig")
        loaded = yaml.safe_load(path.read_text())
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not YAML: {exc}") from exc
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: not a kubeconfig: expected a mapping with clusters, contexts and users")
    return loaded


def _merged(paths: list[Path]) -> Mapping[str, Any]:
    """Several files as kubectl reads them: the first that names an entry wins."""
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": [], "current-context": ""}
    for path in paths:
        config = _load(path)
        for part in ("clusters", "contexts", "users"):
            names = {entry.get("name") for entry in merged[part]}
            merged[part] += [entry for entry in config.get(part) or [] if entry.get("name") not in names]
        merged["current-context"] = merged["current-context"] or config.get("current-context")
    return merged


def _entry(config: Mapping[str, Any], part: str, key: str, name: object, *, origin: Path) -> Mapping[str, Any]:
    for entry in config.get(part) or []:
        if isinstance(entry, dict) and entry.get("name") == name:
            return entry.get(key) or {}
    known = ", ".join(sorted(str(entry.get("name")) for entry in config.get(part) or [] if isinstance(entry, dict)))
    raise ConfigError(f"{origin}: {part}: no entry named {name!r}; there are: {known or 'none'}")


def _pem(part: Mapping[str, Any], key: str, *, origin: Path) -> str | None:
    """``<key>-data`` (base64) or the file ``<key>``."""
    if data := part.get(f"{key}-data"):
        try:
            return base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise ConfigError(f"{origin}: {key}-data is not base64 of a PEM text") from exc
    if not (name := part.get(key)):
        return None
    path = _beside(origin, name)
    try:
        return path.read_text()
    except OSError as exc:
        raise ConfigError(f"{origin}: {key}: {path}: {exc.strerror}") from exc


def _beside(origin: Path, name: str) -> Path:
    return origin.parent / Path(name).expanduser()
