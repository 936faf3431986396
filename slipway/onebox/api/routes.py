"""A request path, read: which kind, which object, which sub-resource."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from slipway.onebox.api.auth import Access
from slipway.onebox.api.errors import no_such_path
from slipway.onebox.api.resources import Catalog
from slipway.onebox.api.target import Target


@dataclass(frozen=True)
class ResourcePath:
    """The parts of ``/api/v1/namespaces/NS/PLURAL/NAME/SUB``; empty where absent."""

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    is_watch: bool = False  # the deprecated /watch/ prefix


def parse_path(raw_path: str) -> ResourcePath | None:
    """None for a path that is no resource's: the roots of discovery included."""
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    is_watch = bool(rest) and rest[0] == "watch"
    if is_watch:
        rest = rest[1:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        return ResourcePath(group, version, "/".join(rest), namespace) if rest else None
    plural, name, subresource = (*rest, "", "")[:3]
    return ResourcePath(group, version, plural, namespace, name, subresource, is_watch)


def resolve(catalog: Catalog, path: ResourcePath) -> Target:
    """The target of a path. Refused 404 for a kind, a scope or a sub-resource that does not exist."""
    found = catalog.find(path.group, path.version, path.plural)
    if found is None:
        raise no_such_path()
    resource, version = found
    namespace, name, subresource = path.namespace, path.name, path.subresource
    if resource.plural == "namespaces" and not resource.group and namespace:
        raise no_such_path()
    if namespace and not resource.namespaced:
        raise no_such_path()
    if name and resource.namespaced and not namespace:
        raise no_such_path()
    return Target(resource, version, namespace, name, subresource)


VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}


def _named_by(selector: str) -> str:
    """The one name that a field selector asks for; empty where it does not. Kubernetes' RequestInfoFactory does so."""
    terms = (term.partition("=") for term in selector.split(","))
    return next((value.lstrip("=") for name, _, value in terms if name == "metadata.name"), "")


def access_of(path: ResourcePath, method: str, *, is_watch: bool, selector: str = "") -> Access:
    """What authorization is asked about; ``selector`` is the query's field selector."""
    verb = VERBS.get(method, method.lower())
    if verb == "get" and not path.name:
        verb = "watch" if is_watch or path.is_watch else "list"
    elif verb == "delete" and not path.name:
        verb = "deletecollection"
    resource = f"{path.plural}/{path.subresource}" if path.subresource else path.plural
    name = path.name or (_named_by(selector) if verb in ("list", "watch", "deletecollection") else "")
    return Access(verb, path.group, resource, path.namespace, name)
