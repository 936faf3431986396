"""A kubeconfig, or a Pod's own service account, as one typed value: where the API is and how to prove who we are."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from slipway.kube.access import Access, TokenFile
from slipway.kube.errors import ConfigError
from slipway.kube.exec_credential import API_VERSIONS, ExecCredential, ExecSpec

__all__ = ["Access", "TokenFile", "in_cluster", "load_access", "parse_kubeconfig"]

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IMPERSONATE = {"Impersonate-User": "as", "Impersonate-Uid": "as-uid"}
MAX_KUBECONFIG_BYTES = 4 * 1024 * 1024


def load_access(path: str | Path | None = None, *, context: str | None = None) -> Access:
    """The first that is there: ``path``, the files of ``KUBECONFIG``, the Pod's service account, ``~/.kube/config``.

    A service account has no contexts: where one is asked for it is passed over. Raises ConfigError naming the file and the
    entry that is wrong.
    """
    if path is not None:
        return parse_kubeconfig(_load(Path(path)), origin=Path(path), context=context)
    files = [Path(item) for item in os.environ.get("KUBECONFIG", "").split(os.pathsep) if item]
    if files:
        present = [item for item in files if item.exists()]
        if not present:
            raise ConfigError(f"KUBECONFIG names {', '.join(map(str, files))}: no such file")
        return parse_kubeconfig(_merged(present), origin=present[0], context=context)
    if not context and os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT_FOLDER / "token").exists():
        return in_cluster()
    default = Path.home() / ".kube" / "config"
    if default.exists():
        return parse_kubeconfig(_load(default), origin=default, context=context)
    raise ConfigError(f"no kubeconfig: set KUBECONFIG or write {default}; `slipway up` writes one for this machine")


def in_cluster(folder: Path = SERVICE_ACCOUNT_FOLDER) -> Access:
    """The access of a Pod through its mounted service account.

    ``POD_NAMESPACE`` comes before the account's own namespace, as in client-go (inClusterClientConfig.Namespace): a hub
    user's notebook works in the user's namespace.
    """
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace, authority = folder / "namespace", folder / "ca.crt"
    try:
        own = namespace.read_text().strip() if namespace.exists() else "default"
        return Access(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            namespace=os.environ.get("POD_NAMESPACE") or own,
            token_file=TokenFile(folder / "token"),
            certificate_authority=authority.read_text(),
        )
    except OSError as exc:
        raise ConfigError(f"{exc.filename}: {exc.strerror}: a Pod's service account is mounted there") from exc


def parse_kubeconfig(config: Mapping[str, Any], *, origin: Path, context: str | None = None) -> Access:
    """The access of one context of a loaded kubeconfig; ``origin`` names it in errors and resolves relative paths."""
    wanted = context or config.get("current-context")
    if not wanted:
        raise ConfigError(f"{origin}: current-context is empty: set it, or choose a context by name")
    chosen = _entry(config, "contexts", "context", wanted, origin=origin)
    cluster = _entry(config, "clusters", "cluster", chosen.get("cluster"), origin=origin)
    user = _entry(config, "users", "user", chosen["user"], origin=origin) if chosen.get("user") else {}
    if "auth-provider" in user:
        raise ConfigError(
            f"{origin}: users[{chosen['user']}].auth-provider: Kubernetes has removed these: use exec, a token or a certificate"
        )
    server = str(cluster.get("server") or "")
    if not _is_address(server):
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
        proxy_url=_proxy(cluster, chosen.get("cluster"), origin=origin),
        plugin=_plugin(user["exec"], cluster, origin=origin, user=chosen["user"]) if user.get("exec") else None,
        acts_as=_acts_as(user, chosen.get("user"), origin=origin),
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(re.fullmatch(r"[^\s\\]+", parts.hostname or ""))
            and parts.port != 0
        )
    except ValueError:  # half an IPv6 address, or no number for a port
        return False


def _plugin(given: Mapping[str, Any], cluster: Mapping[str, Any], *, origin: Path, user: object) -> ExecCredential:
    where = f"{origin}: users[{user}].exec"
    version, command = str(given.get("apiVersion") or ""), str(given.get("command") or "")
    if version not in API_VERSIONS:
        raise ConfigError(f"{where}.apiVersion: {version!r} is not one of {', '.join(API_VERSIONS)}")
    if not command:
        raise ConfigError(f"{where}.command: empty: which program gives the credentials?")
    if given.get("interactiveMode") == "Always":
        raise ConfigError(f"{where}.interactiveMode: Always: nobody is here to ask; use a plug-in that asks nobody")
    is_path = os.sep in command and not Path(command).is_absolute()
    argv = (str(_beside(origin, command)) if is_path else command, *map(str, given.get("args") or ()))
    env = tuple((str(item["name"]), str(item["value"])) for item in given.get("env") or ())
    told = _cluster_info(cluster, origin=origin) if given.get("provideClusterInfo") else None
    return ExecCredential(ExecSpec(where, version, argv, env, str(given.get("installHint") or "").strip(), told))


def _cluster_info(cluster: Mapping[str, Any], *, origin: Path) -> dict[str, Any]:
    """What a plug-in is told of the cluster."""
    authority = _pem(cluster, "certificate-authority", origin=origin)
    extensions = {item.get("name"): item.get("extension") for item in cluster.get("extensions") or ()}
    info = {
        "server": cluster.get("server"),
        "tls-server-name": cluster.get("tls-server-name"),
        "insecure-skip-tls-verify": cluster.get("insecure-skip-tls-verify"),
        "certificate-authority-data": base64.b64encode(authority.encode()).decode() if authority else None,
        "proxy-url": cluster.get("proxy-url"),
        "config": extensions.get("client.authentication.k8s.io/exec"),
    }
    return {key: value for key, value in info.items() if value is not None}


def _acts_as(user: Mapping[str, Any], name: object, *, origin: Path) -> tuple[tuple[str, str], ...]:
    """Headers of impersonation."""
    if user.get("as-user-extra"):
        raise ConfigError(f"{origin}: users[{name}].as-user-extra: not supported: impersonate by user, uid and groups")
    single = [(header, str(user[key])) for header, key in IMPERSONATE.items() if user.get(key)]
    return (*single, *(("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()))


def _proxy(cluster: Mapping[str, Any], name: object, *, origin: Path) -> str | None:
    url = cluster.get("proxy-url")
    if url and not str(url).startswith(("http://", "https://")):
        raise ConfigError(f"{origin}: clusters[{name}].proxy-url: {url!r}: only http and https proxies are supported")
    return str(url) if url else None


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
