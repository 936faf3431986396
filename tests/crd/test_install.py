"""``slipway crd install`` against the real API of one machine, which has definitions as a kind."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys

import pytest
import yaml
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.controller.define import define
from slipway.crd.adoption import is_ours
from slipway.crd.definition import DIGEST, NAME, NUMBER, NUMBERED, definition
from slipway.crd.install import Look, install, look
from slipway.crd.words import compared, told
from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, NotFound
from slipway.kube.kinds import CUSTOM_RESOURCE_DEFINITION as CRD
from slipway.kube.kinds import NAMESPACE, SELDON_DEPLOYMENT
from slipway.kube.kubeconfig import Access
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths
from tests.contract.manifests import predictor, sdep

TOKEN = "t" * 32


@pytest.fixture
async def kube(tmp_path):
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN, admission={})
    server = TestServer(make_app(parts))
    await server.start_server()
    async with Kube(Access(str(server.make_url("/")).rstrip("/"), token=TOKEN)) as client:
        yield client
    await server.close()
    parts.objects.store.close()


async def put_anothers(kube: Kube) -> None:
    """Somebody else's definition stands there: it knows one more field, and not ours beside Seldon's."""
    live = await kube.get(CRD, NAME)
    crd = copy.deepcopy(definition())
    crd["metadata"] = {
        "name": NAME,
        "resourceVersion": live["metadata"]["resourceVersion"],
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": "seldon-core",
            "meta.helm.sh/release-namespace": "seldon-system",
        },
    }
    crd["spec"]["versions"] = crd["spec"]["versions"][:1]
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["predictors"]["items"]["properties"]["canaryPercent"] = {"type": "integer"}
    component = spec["properties"]["predictors"]["items"]["properties"]["componentSpecs"]["items"]["properties"]
    del component["hpaSpec"]
    await kube.replace(crd, kind=CRD)


async def put_objects(kube: Kube) -> None:
    await kube.create({"metadata": {"name": "team"}}, kind=NAMESPACE)
    for obj in (sdep(name="plain"), sdep(predictor(canaryPercent=10), name="more")):
        del obj["metadata"]["uid"], obj["metadata"]["generation"]
        await kube.create(obj, kind=SELDON_DEPLOYMENT)


async def test_where_none_is_ours_is_made_and_served(kube):
    await kube.delete(CRD, NAME)
    with pytest.raises(NotFound):
        await kube.list(SELDON_DEPLOYMENT)
    outcome = await install(kube, await look(kube))
    assert [*told(outcome)] == [f"{NAME} created"]
    assert (await kube.list(SELDON_DEPLOYMENT)).items == ()
    assert is_ours(await kube.get(CRD, NAME))


async def test_a_second_install_changes_nothing(kube):
    before = await kube.get(CRD, NAME)
    assert (await install(kube, await look(kube))).verdict == "unchanged"
    assert await kube.get(CRD, NAME) == before


async def test_an_older_one_of_ours_is_brought_up_to_date(kube):
    live = await kube.get(CRD, NAME)
    live["metadata"]["annotations"] = {DIGEST: "0" * 64, "team": "birds"}
    live["spec"]["versions"][0]["additionalPrinterColumns"] = []
    await kube.replace(live, kind=CRD)
    assert (await install(kube, await look(kube))).verdict == "updated"
    after = await kube.get(CRD, NAME)
    assert after["spec"]["versions"] == definition()["spec"]["versions"]
    assert after["metadata"]["annotations"] == {**definition()["metadata"]["annotations"], "team": "birds"}


async def put_newer(kube: Kube) -> dict:
    """A later release's stands there, with a field that this one does not know."""
    live = await kube.get(CRD, NAME)
    live["metadata"]["annotations"] |= {DIGEST: "1" * 64, NUMBERED: str(NUMBER + 1)}
    spec = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["later"] = {"type": "string"}
    return dict(await kube.replace(live, kind=CRD))


@pytest.mark.parametrize("words", [(), ("--adopt-crd",), ("--adopt-crd", "--yes")])
async def test_a_newer_one_of_ours_is_left_and_the_command_fails(kube, command, words):
    before = await put_newer(kube)
    said = await command(*words)
    assert said.exit_code == 1
    assert f"is of a newer Slipway: its number is {NUMBER + 1}, this one's is {NUMBER}" in said.output
    assert await kube.get(CRD, NAME) == before


async def test_what_became_newer_since_it_was_seen_is_left(kube):
    live = await kube.get(CRD, NAME)
    live["spec"]["versions"][0]["additionalPrinterColumns"] = []
    await kube.replace(live, kind=CRD)
    seen = await look(kube)
    assert seen.verdict == "updated"
    before = await put_newer(kube)
    assert (await install(kube, seen, adopt=True)).verdict == "newer"
    assert await kube.get(CRD, NAME) == before


async def test_an_older_controller_works_with_a_newer_definition(kube, caplog):
    caplog.set_level("INFO")
    before = await put_newer(kube)
    await define(kube.access, controller_id="", adopt=True)
    assert "is of a newer Slipway" in caplog.text
    assert await kube.get(CRD, NAME) == before


async def test_anothers_is_left_alone_and_what_differs_is_told(kube):
    await put_anothers(kube)
    await put_objects(kube)
    before = await kube.get(CRD, NAME)
    outcome = await install(kube, await look(kube))
    assert await kube.get(CRD, NAME) == before
    assert outcome.verdict == "left"
    text = "\n".join(told(outcome))
    for part in (
        "another's: it stays",
        "Helm release seldon-system/seldon-core",
        "drops spec.predictors[].componentSpecs[].hpaSpec",
        "ours drops spec.predictors[].canaryPercent",
        "no version v1alpha2",
        "would change team/more: loses spec.predictors[0].canaryPercent",
    ):
        assert part in text
    assert "team/plain" not in text


async def test_adopted_is_ours_and_every_object_is_still_there(kube):
    await put_anothers(kube)
    await put_objects(kube)
    outcome = await install(kube, await look(kube), adopt=True)
    assert outcome.verdict == "adopted"
    after = await kube.get(CRD, NAME)
    assert is_ours(after)
    assert after["metadata"]["annotations"]["meta.helm.sh/release-name"] == "seldon-core"
    assert {obj["metadata"]["name"] for obj in (await kube.list(SELDON_DEPLOYMENT)).items} == {"plain", "more"}


async def test_what_changed_since_it_was_told_is_not_replaced(kube):
    await put_anothers(kube)
    seen = await look(kube)
    live = await kube.get(CRD, NAME)
    items = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["predictors"]
    items["items"]["properties"]["oneMore"] = {"type": "string"}
    await kube.replace(live, kind=CRD)
    with pytest.raises(Conflict):
        await install(kube, seen, adopt=True)
    assert not is_ours(await kube.get(CRD, NAME))


async def test_two_at_once_make_it_once(kube):
    await kube.delete(CRD, NAME)
    seen = await look(kube)
    verdicts = {(await install(kube, seen)).verdict, (await install(kube, seen)).verdict}
    assert verdicts == {"created", "unchanged"}


def test_nothing_is_compared_where_the_definition_is_ours():
    assert [*compared(Look(definition()))] == []


@pytest.fixture
def command(kube, monkeypatch):
    """``slipway crd install`` in a thread of its own beside the API's loop."""
    monkeypatch.setattr("slipway.cli.kubeconfigs.load_access", lambda *_, **__: kube.access)
    return lambda *words, **more: asyncio.to_thread(CliRunner().invoke, main, ["crd", "install", *words], **more)


async def test_command_asks_before_objects_change(kube, command):
    await put_anothers(kube)
    await put_objects(kube)
    refused = await command("--adopt-crd", input="n\n")
    assert refused.exit_code == 1
    assert "would change team/more" in refused.output
    assert "SeldonDeployments that would change: 1" in refused.output
    assert not is_ours(await kube.get(CRD, NAME))
    done = await command("--adopt-crd", "--yes")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, f"{NAME} adopted")


async def test_command_refuses_an_id_that_no_label_can_hold(command):
    said = await command("--controller-id", "a b")
    assert said.exit_code == 2
    assert "at most 63" in said.output


async def test_server_side_apply_of_the_file_does_not_replace_anothers(kube):
    """What `kubectl apply --server-side -k kubernetes` does where Seldon Core is: a conflict, and nothing changed."""
    live = await kube.get(CRD, NAME)
    await kube.delete(CRD, NAME)
    theirs = {**live, "metadata": {"name": NAME}, "spec": {**live["spec"], "versions": live["spec"]["versions"][:1]}}
    await kube.create(theirs, kind=CRD, field_manager="helm")
    before = await kube.get(CRD, NAME)
    with pytest.raises(Conflict, match="helm"):
        await kube.apply(definition(), field_manager="kubectl", force=False)
    assert await kube.get(CRD, NAME) == before


async def test_a_controller_brings_the_definition_and_leaves_anothers_alone(kube, caplog):
    caplog.set_level("INFO")
    await kube.delete(CRD, NAME)
    await define(kube.access, controller_id="", adopt=False)
    assert is_ours(await kube.get(CRD, NAME))
    await put_anothers(kube)
    await put_objects(kube)
    await define(kube.access, controller_id="", adopt=False)
    assert not is_ours(await kube.get(CRD, NAME))
    assert "it stays as it is" in caplog.text
    caplog.clear()
    await define(kube.access, controller_id="", adopt=True)
    assert is_ours(await kube.get(CRD, NAME))
    said = [record.getMessage() for record in caplog.records if record.name == "slipway.controller.define"]
    assert said[-2:] == ["ours would change team/more: loses spec.predictors[0].canaryPercent", f"{NAME} adopted"]


def test_a_controller_that_may_not_define_says_so(tmp_path):
    config = tmp_path / "kubeconfig"
    cluster = {"server": "http://127.0.0.1:1"}
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a"}}],
                "clusters": [{"name": "a", "cluster": cluster}],
            }
        )
    )
    argv = [sys.executable, "-m", "slipway.controller", "--kubeconfig", str(config), "--install-crd"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "error: --install-crd: GET http://127.0.0.1:1" in said.stderr


async def test_the_file_can_be_applied_after_an_install_and_before_the_next(kube):
    """In the order of docs/kubernetes.md: `slipway crd install`, then `kubectl apply --server-side`; and so at each upgrade."""
    await kube.delete(CRD, NAME)
    await install(kube, await look(kube))
    await kube.apply(definition(), field_manager="kubectl", force=False)
    older = await kube.get(CRD, NAME)
    older["metadata"]["annotations"][DIGEST] = "0" * 64
    older["spec"]["versions"][0]["additionalPrinterColumns"].pop()
    await kube.replace(older, kind=CRD, field_manager="kubectl")
    assert (await install(kube, await look(kube))).verdict == "updated"
    await kube.apply(definition(), field_manager="kubectl", force=False)
    assert (await look(kube)).verdict == "unchanged"
