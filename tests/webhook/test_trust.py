"""The Secret that replicas share and the caBundle, over an API: one in the test's process that keeps versions."""

from __future__ import annotations

import asyncio
import base64
import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.kube.errors import AlreadyExists, Conflict, NotFound
from slipway.kube.kinds import SECRET
from slipway.webhook.certificates import AUTHORITY_DAYS, CERTIFICATE_DAYS
from slipway.webhook.trust import CONFIGURATION, Trust, certificates_of

PLACE = ("slipway-system", "slipway-webhook-certificate")
NAMES = ("slipway-webhook.slipway-system.svc",)
START = datetime(2026, 11, 22, tzinfo=UTC)


@dataclass
class Api:
    """Secrets and configurations with resourceVersions, as an API server keeps them; ``before_write`` may interfere once."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    writes: int = 0
    before_write: Any = None

    async def get(self, kind, name, *, namespace=None):
        await asyncio.sleep(0)
        if (kind.plural, name) not in self.objects:
            raise NotFound({"code": 404, "reason": "NotFound"})
        return copy.deepcopy(self.objects[kind.plural, name])

    async def create(self, obj, *, kind, namespace=None, field_manager):
        await self._interfere()
        key = (kind.plural, obj["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists({"code": 409, "reason": "AlreadyExists"})
        return self._store(key, obj)

    async def replace(self, obj, *, kind, namespace=None, field_manager):
        await self._interfere()
        key = (kind.plural, obj["metadata"]["name"])
        if obj["metadata"]["resourceVersion"] != self.objects[key]["metadata"]["resourceVersion"]:
            raise Conflict({"code": 409, "reason": "Conflict"})
        return self._store(key, obj)

    def _store(self, key, obj):
        self.writes += 1
        self.objects[key] = copy.deepcopy(dict(obj))
        self.objects[key]["metadata"]["resourceVersion"] = str(self.writes)
        return self.objects[key]

    async def _interfere(self):
        await asyncio.sleep(0)
        if self.before_write is not None:
            interfere, self.before_write = self.before_write, None
            await interfere()

    @property
    def bundle(self) -> list[bytes]:
        hooks = self.objects[CONFIGURATION.plural, "slipway-webhook"]["webhooks"]
        return [base64.b64decode(hook["clientConfig"].get("caBundle", "")) for hook in hooks]


@pytest.fixture
def api() -> Api:
    made = Api()
    hooks = [{"name": name, "clientConfig": {"service": {"name": "slipway-webhook"}}} for name in ("a", "b")]
    made.objects[CONFIGURATION.plural, "slipway-webhook"] = {
        "metadata": {"name": "slipway-webhook", "resourceVersion": "0"},
        "webhooks": hooks,
    }
    return made


def trust(api: Api, days: float = 0) -> Trust:
    return Trust(api, PLACE, "slipway-webhook", NAMES, now=lambda: START + timedelta(days=days))


async def test_first_turn_makes_the_secret_and_tells_every_hook(api):
    made = await trust(api).turn()
    assert certificates_of(await api.get(SECRET, PLACE[1])) == made
    assert api.bundle == [made.authorities] * 2


async def test_the_empty_secret_of_the_manifests_is_filled_and_stays_what_it_is(api):
    api.objects[SECRET.plural, PLACE[1]] = {
        "metadata": {"name": PLACE[1], "resourceVersion": "0", "labels": {"a": "b"}},
        "type": "Opaque",
    }
    made = await trust(api).turn()
    kept = await api.get(SECRET, PLACE[1])
    assert certificates_of(kept) == made
    assert (kept["type"], kept["metadata"]["labels"]) == ("Opaque", {"a": "b"})


async def test_a_turn_with_nothing_due_writes_nothing(api):
    made = await trust(api).turn()
    before = api.writes
    assert await trust(api, 30).turn() == made
    assert api.writes == before


async def test_replicas_that_start_at_once_show_the_same(api):
    first, second = trust(api), trust(api)
    api.before_write = second.turn
    one = await first.turn()
    assert one == await second.turn()
    assert api.bundle == [one.authorities] * 2


async def test_replicas_that_renew_at_once_end_with_the_same(api):
    await trust(api).turn()
    first, second = trust(api, CERTIFICATE_DAYS - 20), trust(api, CERTIFICATE_DAYS - 20)
    api.before_write = second.turn
    with pytest.raises(Conflict):
        await first.turn()
    assert await first.turn() == await second.turn()


async def test_an_authority_is_told_before_it_signs(api):
    kept = await trust(api).turn()
    for day in range(0, AUTHORITY_DAYS + 200, 20):
        shown = await trust(api, day).turn()
        assert api.bundle[0].startswith(shown.authorities[:80])
        if shown.authorities != kept.authorities:
            assert kept.authorities in api.bundle[0], "the old one is trusted beside it"
        kept = shown


@pytest.mark.parametrize(
    "data",
    [None, {}, {"ca.crt": "!", "ca.key": "", "tls.crt": "", "tls.key": ""}, {"tls.crt": "eA==", "tls.key": "eA=="}],
)
async def test_a_secret_that_holds_something_else_is_made_anew(api, data):
    await trust(api).turn()
    api.objects[SECRET.plural, PLACE[1]]["data"] = data
    made = await trust(api).turn()
    assert certificates_of(await api.get(SECRET, PLACE[1])) == made
    assert api.bundle == [made.authorities] * 2


async def test_a_bundle_that_somebody_emptied_is_told_again(api):
    made = await trust(api).turn()
    api.objects[CONFIGURATION.plural, "slipway-webhook"]["webhooks"][1]["clientConfig"].pop("caBundle")
    assert await trust(api).turn() == made
    assert api.bundle == [made.authorities] * 2


async def test_without_a_configuration_there_is_nothing_to_show(api):
    del api.objects[CONFIGURATION.plural, "slipway-webhook"]
    with pytest.raises(NotFound):
        await trust(api).turn()
