"""Who is asking, and may they: bearer tokens, service accounts, Roles and their bindings.

The administrator's token is a file; a service account's is a Secret of type ``kubernetes.io/service-account-token``.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.onebox.api.errors import Refused, describe, not_found, qualified
from slipway.onebox.api.rules import TOKEN_SECRET
from slipway.onebox.api.store import Store

RBAC = "rbac.authorization.k8s.io"
ADMIN = "slipway:admin"
ADMIN_GROUP = "system:masters"
AUTHENTICATED = "system:authenticated"
OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/version"})
DISCOVERY_ROOTS = ("/api", "/apis", "/openapi", "/version", "/livez", "/readyz", "/healthz")
ACCOUNT_PREFIX = "system:serviceaccount:"
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"


BASIC_RULES: tuple[Mapping[str, Any], ...] = (  # what everybody who is known may do (Kubernetes' system:basic-user)
    {
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
    {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
)
BASIC_REASON = 'RBAC: allowed by ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group "system:authenticated"'


@dataclass(frozen=True)
class User:
    """``namespace`` and ``account`` are those of a service account, else empty."""

    name: str
    groups: tuple[str, ...] = ()
    namespace: str = ""
    account: str = ""

    @property
    def is_admin(self) -> bool:
        return ADMIN_GROUP in self.groups


@dataclass(frozen=True)
class Access:
    """What a request wants to do; ``resource`` includes the sub-resource (``pods/log``)."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def account_user(namespace: str, account: str) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{account}", groups, namespace, account)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Authenticator:
    def __init__(self, store: Store, *, admin_token: str) -> None:
        self._store = store
        self._admin_token = admin_token.encode()

    def user(self, authorization: str) -> User:
        """Who sends ``authorization``; nobody in particular without one. Refused 401 for a token that is not valid."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and token:
            if hmac.compare_digest(token.encode(), self._admin_token):
                return User(ADMIN, (ADMIN_GROUP, AUTHENTICATED))
            user = self._account(token.encode())
            if user is not None:
                return user
        raise Refused(401, "Unauthorized", reason="Unauthorized")

    def _account(self, token: bytes) -> User | None:
        for (namespace, _), secret in self._store.all("secrets").items():
            if secret.get("type") != TOKEN_SECRET:
                continue
            account = (secret["metadata"].get("annotations") or {}).get(ACCOUNT_ANNOTATION, "")
            known = base64.b64decode((secret.get("data") or {}).get("token", ""))
            if known and hmac.compare_digest(known, token):
                if self._store.get("serviceaccounts", (namespace, account)) is None:
                    return None
                return account_user(namespace, account)
        return None


class Authorizer:
    """RBAC over Roles, ClusterRoles and their bindings; the administrator may do everything."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check_path(self, user: User, path: str) -> None:
        """Non-resource paths: discovery is for everybody who is known. Refused 403."""
        if self.may_get(user, path):
            return
        message = f'forbidden: User "{user.name}" cannot get path "{path}"'
        raise Refused(403, message, reason="Forbidden", details={})

    def may_get(self, user: User, path: str) -> bool:
        root = "/" + path.strip("/").partition("/")[0]
        return user.is_admin or (AUTHENTICATED in user.groups and root in DISCOVERY_ROOTS)

    def may(self, user: User, access: Access) -> bool:
        return self.why(user, access) is not None

    def why(self, user: User, access: Access) -> str | None:
        """Which binding allows it, in Kubernetes' words (empty for the administrator); None where nothing does."""
        granted = self._granted(user, access.namespace)
        return next((why for rule, why in granted if _allows(rule, access)), None)

    def check(self, user: User, access: Access) -> None:
        """Refused 403 naming user, verb, resource and place."""
        if self.may(user, access):
            return
        plural = access.resource.partition("/")[0]
        shown = qualified(plural, access.group) + (f' "{access.name}"' if access.name else "")
        place = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
        raise Refused(
            403,
            f'{shown} is forbidden: User "{user.name}" cannot {access.verb} resource "{access.resource}" '
            f'in API group "{access.group}" {place}',
            reason="Forbidden",
            details=describe(access.name, access.group, plural),
        )

    def acting(self, user: User, *, name: str, groups: Sequence[str]) -> User:
        """Whom ``user`` acts as (the headers Impersonate-User and -Group). Refused 403 where it may not."""
        if not name:
            return user
        self.check(user, Access("impersonate", "", "users", name=name))
        for group in groups:
            self.check(user, Access("impersonate", "", "groups", name=group))
        namespace, _, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
        if name.startswith(ACCOUNT_PREFIX) and account:
            known = account_user(namespace, account)
            return replace(known, groups=tuple(groups)) if groups else known
        return User(name, (*groups, AUTHENTICATED))

    def rules(self, user: User, namespace: str) -> Iterable[Mapping[str, Any]]:
        """Every rule that allows ``user`` something in ``namespace`` (empty: at the cluster scope)."""
        return (rule for rule, _ in self._granted(user, namespace))

    def _granted(self, user: User, namespace: str) -> Iterable[tuple[Mapping[str, Any], str]]:
        if user.is_admin:
            yield {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, ""
        if AUTHENTICATED in user.groups:
            yield from ((rule, BASIC_REASON) for rule in BASIC_RULES)
        bindings = list(self._store.all(f"clusterrolebindings.{RBAC}").values())
        for (place, _), binding in self._store.all(f"rolebindings.{RBAC}").items():
            if namespace and place == namespace:
                bindings.append(binding)
        for binding in bindings:
            subjects = binding.get("subjects") or ()
            subject = next((subject for subject in subjects if _is_subject(subject, user, binding)), None)
            if subject is not None:
                why = _reason(binding, subject)
                yield from ((rule, why) for rule in self._role_rules(binding))

    def rules_of(self, ref: Mapping[str, Any], namespace: str) -> Sequence[Mapping[str, Any]]:
        """What the role that a binding in ``namespace`` names allows. Refused 404 where there is none."""
        role = self._role(ref, namespace)
        if role is None:
            plural = "clusterroles" if ref.get("kind") == "ClusterRole" else "roles"
            raise not_found(plural, RBAC, str(ref.get("name", "")))
        return role.get("rules") or ()

    def _role_rules(self, binding: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        role = self._role(binding["roleRef"], binding["metadata"].get("namespace", ""))
        return (role or {}).get("rules") or ()

    def _role(self, ref: Mapping[str, Any], namespace: str) -> Mapping[str, Any] | None:
        if ref.get("kind") == "ClusterRole":
            return self._store.get(f"clusterroles.{RBAC}", ("", ref.get("name", "")))
        return self._store.get(f"roles.{RBAC}", (namespace, ref.get("name", "")))


def _reason(binding: Mapping[str, Any], subject: Mapping[str, Any]) -> str:
    meta, ref = binding["metadata"], binding["roleRef"]
    namespace, name = meta.get("namespace", ""), subject.get("name", "")
    kind, shown = ("RoleBinding", f"{meta['name']}/{namespace}") if namespace else ("ClusterRoleBinding", meta["name"])
    if subject.get("kind") == "ServiceAccount":
        name = f"{name}/{subject.get('namespace') or namespace}"
    return f'RBAC: allowed by {kind} "{shown}" of {ref.get("kind")} "{ref["name"]}" to {subject.get("kind")} "{name}"'


def _is_subject(subject: Mapping[str, Any], user: User, binding: Mapping[str, Any]) -> bool:
    match subject.get("kind"):
        case "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            return bool(user.account) and (namespace, subject.get("name")) == (user.namespace, user.account)
        case "Group":
            return subject.get("name") in user.groups
        case "User":
            return subject.get("name") == user.name
    return False


def _allows(rule: Mapping[str, Any], access: Access) -> bool:
    def covers(part: str, value: str) -> bool:
        listed = rule.get(part) or ()
        return "*" in listed or value in listed

    names = rule.get("resourceNames")
    subresource = access.resource.partition("/")[2]
    resources = rule.get("resources") or ()
    is_resource = covers("resources", access.resource) or (bool(subresource) and f"*/{subresource}" in resources)
    return (
        covers("verbs", access.verb)
        and covers("apiGroups", access.group)
        and is_resource
        and (not names or access.name in names)
    )
