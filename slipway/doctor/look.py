"""Asks the API everything that the checks need, each request bounded, and nothing that changes an object.

A review (SelfSubjectAccessReview, SubjectAccessReview) is a POST that stores nothing. Of a model storage that is a Service of
the cluster the API is asked which Pods are behind it; any other address is asked from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from slipway.doctor.checks.storage import S3, probes, services
from slipway.doctor.facts import Facts, NotKnown, Object, Unanswered
from slipway.doctor.order import CHECKS
from slipway.doctor.question import Permission, Probe, Question
from slipway.kube.client import Kube
from slipway.kube.discovery import ONE_MACHINE
from slipway.kube.errors import ApiError, NotFound, Unavailable
from slipway.kube.malformed import MALFORMED

FIRST_ANSWER_S = 8.0
"""For the version and what is served: whoever does not say that much in this time is not there."""
ANSWER_S = 8.0
"""For each other request."""
TOTAL_S = 45.0
"""For all of them together: what is not known by then is said to be unknown."""
MAX_AT_ONCE = 8
SIGNED_BY_NOBODY = {"Authorization": "AWS nobody:none"}
T = TypeVar("T")


class NotAnApi(Exception):
    """Something answers, and it is not a Kubernetes API."""


@dataclass
class _Patience:
    """How long is waited, and for how many at a time."""

    until: float
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))

    async def asked(self, work: Callable[[], Awaitable[T]]) -> T | Unanswered:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(self.until), self.places, asyncio.timeout_at(loop.time() + ANSWER_S):
                return await work()
        except TimeoutError:
            return Unanswered(f"no answer within {ANSWER_S:g} s")
        except (ApiError, Unavailable, aiohttp.ClientError, OSError) as error:
            return Unanswered(str(error) or type(error).__name__)
        except MALFORMED as error:
            return Unanswered(f"the answer has another form: {type(error).__name__}: {error}")


async def look(kube: Kube, *, namespace: str | None = None) -> Facts:
    """Everything once; ``namespace`` None is the kubeconfig's.

    Raises:
        Unavailable: the API is not there.
        ApiError: it does not take the credentials.
        NotAnApi: what answers is something else.
    """
    own = namespace or kube.access.namespace
    version, served = await _first(kube)
    patience = _Patience(asyncio.get_running_loop().time() + TOTAL_S)
    is_one_machine = version.endswith(ONE_MACHINE)
    checks = [check for check in CHECKS if not (is_one_machine and check.instead)]
    questions = {question for check in checks for question in check.questions}
    permissions = {permission for check in checks for permission in check.permissions(own)}
    answers, may = await asyncio.gather(
        _each(questions, lambda question: patience.asked(lambda: _objects(kube, question, own))),
        _each(permissions, lambda permission: patience.asked(lambda: _may(kube, permission))),
    )
    facts = Facts(own, version, is_one_machine, datetime.now(UTC), served, answers, may)
    wanted, slices = _probes(facts)
    async with aiohttp.ClientSession() as session:
        found, more = await asyncio.gather(
            _each(wanted, lambda probe: patience.asked(lambda: _status(session, probe))),
            _each(slices, lambda question: patience.asked(lambda: _objects(kube, question, own))),
        )
    return replace(facts, statuses=found, answers={**answers, **more})


K = TypeVar("K")


async def _each(keys: Iterable[K], ask: Callable[[K], Awaitable[T]]) -> dict[K, T]:
    known = list(keys)
    return dict(zip(known, await asyncio.gather(*map(ask, known)), strict=True))


async def _first(kube: Kube) -> tuple[str, frozenset[str]]:
    """The version, and what is served: without them nothing can be decided."""
    try:
        async with asyncio.timeout(FIRST_ANSWER_S):
            return await _version(kube), await _served(kube)
    except TimeoutError as exc:
        raise Unavailable(f"{kube.access.server}: no answer within {FIRST_ANSWER_S:g} s") from exc


async def _version(kube: Kube) -> str:
    version = (await kube.request("GET", "/version")).get("gitVersion")
    if not isinstance(version, str) or not version:
        raise NotAnApi(f"{kube.access.server}/version has no gitVersion: this is not a Kubernetes API")
    return version


async def _served(kube: Kube) -> frozenset[str]:
    try:
        groups = (await kube.request("GET", "/apis")).get("groups") or ()
        return frozenset({"v1", *(version["groupVersion"] for group in groups for version in group["versions"])})
    except MALFORMED as error:
        raise NotAnApi(f"{kube.access.server}/apis has another form: {type(error).__name__}: {error}") from error


async def _objects(kube: Kube, question: Question, own: str) -> tuple[Object, ...]:
    """A kind that is not served, and an object that is not there, are none."""
    place = question.place(own)
    try:
        if question.name is None:
            return (await kube.list(question.kind, namespace=place, label_selector=question.selector)).items
        return (await kube.get(question.kind, question.name, namespace=place),)
    except NotFound:
        return ()


async def _may(kube: Kube, permission: Permission) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": permission.namespace,
        "name": permission.name,
    }
    kind = "SubjectAccessReview" if permission.user else "SelfSubjectAccessReview"
    spec: dict[str, Any] = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    if permission.user:
        groups = ["system:serviceaccounts", "system:authenticated"]
        spec |= {"user": permission.user, "groups": groups}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    answer = await kube.request("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body=review)
    return bool(answer["status"]["allowed"])


def _probes(facts: Facts) -> tuple[tuple[Probe, ...], tuple[Question, ...]]:
    try:
        return probes(facts), services(facts)
    except (NotKnown, *MALFORMED):
        return (), ()  # the check of the Secret says why


async def _status(session: aiohttp.ClientSession, probe: Probe) -> int:
    """Of a store that speaks other protocols, too, and knows S3 by its signature, the answer to a signature of nobody."""
    found = await _got(session, probe.url, {})
    if found == HTTPStatus.NOT_FOUND and probe.name == S3:
        return await _got(session, probe.url, SIGNED_BY_NOBODY)
    return found


async def _got(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> int:
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        return response.status
