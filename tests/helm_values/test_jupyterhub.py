"""JupyterHub's chart: its schema after a merge as Helm makes it, and the same hub as on one machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slipway.onebox.images.spec import load_image_spec
from slipway.onebox.services.hub import limits
from slipway.onebox.services.hub.names import USER_PATTERN, namespace_of
from slipway.onebox.services.hub.prepare import COMMANDS
from slipway.onebox.services.hub.profiles import DEFAULT, PROFILES
from tests.data import REPOSITORY, SCHEMAS
from tests.helm_values import keys
from tests.helm_values.charts import FOLDER, Values, defaults, load, merge

pytestmark = pytest.mark.data
IMAGE_ROOT, ENVIRONMENT = Path("/opt/slipway/app"), Path("/opt/slipway/venv")
"""Where images/Dockerfile puts an image's files and its Python environment."""
GIB = 1 << 30
HTTPS, EVERYTHING, FORWARDED = "jupyterhub-https.yaml", "everything-on.yaml", "small/jupyterhub.yaml"
UNSET = {
    *(f"imagePullSecret.{key}" for key in ("registry", "username", "password", "email")),  # no secrets in values
    *("hub.cookieSecret", "proxy.secretToken", "hub.existingSecret"),  # the chart draws and keeps them
    "ingress.pathSuffix",  # only for ingresses that want `*` behind a path
}
"""Switches that no file sets, and why."""
OF_OTHERS = ("hub.config", "hub.containerSecurityContext", "singleuser.cmd")
"""Checked by the real classes (test_hub_classes.py) and by Kubernetes' schema; a list where the default is a string."""


def complaints(values: Values) -> list[str]:
    schema = load(SCHEMAS / "zero-to-jupyterhub" / "jupyterhub.values.schema.yaml")
    merged = merge(defaults("jupyterhub"), values)
    found = [f"{error.json_path}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(merged)]
    return [*found, *keys.complaints(values, defaults("jupyterhub"), also=OF_OTHERS)]


def hub(*more: str) -> Values:
    values = load(FOLDER / "jupyterhub.yaml")
    for name in more:
        values = merge(values, load(FOLDER / name))
    return values


@pytest.mark.parametrize(
    "more", [(), (FORWARDED,), (HTTPS,), (HTTPS, EVERYTHING)], ids=["inside", "forwarded", "https", "everything"]
)
def test_hub_keeps_to_the_schema(more: tuple[str, ...]) -> None:
    assert not complaints(hub(*more))


def test_every_switch_is_set_once_and_no_other() -> None:
    values = hub(HTTPS, EVERYTHING)
    known = defaults("jupyterhub")
    switches = {key for key, value in known.items() if not isinstance(value, dict) or not value}
    switches |= {f"{part}.{key}" for part in set(known) - switches for key in known[part]}
    given = {key for key in values if key in switches}
    given |= {f"{part}.{key}" for part, value in values.items() if isinstance(value, dict) for key in value}
    assert switches - given == UNSET
    assert not given & UNSET


@pytest.mark.parametrize(
    "wrong",
    [
        {"singleusers": {}},
        {"singleuser": {"profiles": []}},
        {"singleuser": {"uid": "8888"}},
        {"hub": {"config": {"googleOAuthenticator": {}}}},
        {"proxy": {"https": {"type": "self-signed"}}},
        {"cull": {"timeOut": 1}},
        {"hub": {"db": {"pvc": {"size": "1Gi"}}}},
    ],
    ids=str,
)
def test_wrong_hub_is_found(wrong: Values) -> None:
    assert complaints(merge(hub(), wrong))


def test_nothing_is_executed_from_values() -> None:
    """Settings of real classes instead of Python in YAML: they can be checked, and are (test_hub_classes.py)."""
    assert "extraConfig" not in hub()["hub"]


def test_limits_are_those_of_one_machine() -> None:
    values = hub()
    assert values["hub"]["activeServerLimit"] == limits.MAX_SERVERS
    assert values["hub"]["concurrentSpawnLimit"] == limits.MAX_STARTING
    assert values["cull"] == {"timeout": limits.IDLE_S, "every": limits.CULL_EVERY_S}
    assert values["singleuser"]["startTimeout"] == limits.START_WITHIN_S
    assert values["singleuser"]["memory"]["limit"] == f"{limits.MAX_MEMORY_BYTES // GIB}G"  # JupyterHub's G is 1024³
    config = values["hub"]["config"]
    assert config["KubeSpawner"]["http_timeout"] == limits.ANSWER_WITHIN_S
    assert config["Authenticator"]["username_pattern"] == USER_PATTERN


def test_profiles_are_those_of_one_machine_and_a_gpu() -> None:
    values = hub()["singleuser"]
    offered = {item["slug"]: item for item in values["profileList"]}
    assert set(offered) == {*PROFILES, "gpu"}
    assert [slug for slug, item in offered.items() if item.get("default")] == [DEFAULT]
    for slug, profile in PROFILES.items():
        assert (offered[slug]["display_name"], offered[slug]["description"]) == (profile.title, profile.contents)
        override = offered[slug].get("kubespawner_override", {})
        image = override.get("image", f"{values['image']['name']}:{values['image']['tag']}")
        assert image == profile.tag
        assert override.get("environment", {}) == profile.environment(root=IMAGE_ROOT, environment=ENVIRONMENT)


def test_server_is_the_entrypoint_of_its_images() -> None:
    """So that `cmd`, which the chart gives to the container as arguments, has arguments only."""
    values = hub()["singleuser"]
    for profile in PROFILES.values():
        spec = load_image_spec(REPOSITORY / "images" / profile.image.rpartition("/")[2])
        assert spec.entrypoint == ("python", "-m", "jupyterhub.singleuser")
    assert all(argument.startswith("--") for argument in values["cmd"])
    between_processes = {"--KernelManager.transport_encryption=required"}  # a Pod's ports are its user's own
    assert set(_arguments()) - between_processes <= set(values["cmd"])
    assert f"--MappingKernelManager.cull_idle_timeout={limits.IDLE_S}" in values["cmd"]
    assert f"--MappingKernelManager.cull_interval={limits.CULL_EVERY_S}" in values["cmd"]


def _arguments() -> tuple[str, ...]:
    """Read, not imported: the module needs JupyterHub, which has an environment of its own."""
    tree = ast.parse((REPOSITORY / "slipway" / "onebox" / "services" / "hub" / "spawner.py").read_text())
    (found,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ARGUMENTS"
    )
    arguments: tuple[str, ...] = ast.literal_eval(found)
    return arguments


def test_user_gets_what_a_notebook_of_one_machine_gets() -> None:
    environment: dict[str, Any] = hub()["singleuser"]["extraEnv"]
    namespace = namespace_of("{username}")
    assert environment["SLIPWAY_NAMESPACE"] == environment["POD_NAMESPACE"] == namespace
    secret = {item["valueFrom"]["secretKeyRef"]["name"] for item in environment.values() if isinstance(item, dict)}
    assert secret == {namespace}


def test_user_finds_the_slipway_command() -> None:
    dockerfile = (REPOSITORY / "images" / "Dockerfile").read_text()
    (of_the_image,) = re.findall(r"ENV PATH=(\S+)", dockerfile)
    path = hub()["singleuser"]["extraEnv"]["PATH"]
    assert path == f"{IMAGE_ROOT / COMMANDS}:{of_the_image}"
    assert (REPOSITORY / COMMANDS / "slipway").is_file()


def test_only_listed_people_get_in() -> None:
    config = hub()["hub"]["config"]
    settings = {**config["Authenticator"], **config["OAuthenticator"], **config["GoogleOAuthenticator"]}
    assert settings["allowed_users"]
    assert settings["hosted_domain"]
    assert set(settings["admin_users"]) <= set(settings["allowed_users"])
    assert not settings.get("allow_all")
    assert not settings["allow_existing_users"]


def test_servers_run_as_the_user_of_the_images() -> None:
    values = hub()["singleuser"]
    dockerfile = (REPOSITORY / "images" / "Dockerfile").read_text()
    assert f"USER {values['uid']}:{values['fsGid']}" in dockerfile
    assert f"HOME={values['storage']['homeMountPath']}" in dockerfile
    assert {str(IMAGE_ROOT), str(ENVIRONMENT)} <= set(dockerfile.replace("/ ", " ").replace("=", " ").split())


def test_callbacks_are_those_that_the_page_registers_and_of_where_the_hub_is() -> None:
    page = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    callbacks = [
        hub(name)["hub"]["config"]["GoogleOAuthenticator"]["oauth_callback_url"] for name in (HTTPS, FORWARDED)
    ]
    assert all(f"`{callback}`" in page for callback in callbacks)
    (host,) = hub(HTTPS)["proxy"]["https"]["hosts"]
    assert callbacks[0] == f"https://{host}/hub/oauth_callback"
    (port,) = re.findall(r"port-forward service/proxy-public (\d+):", page)
    assert callbacks[1] == f"http://localhost:{port}/hub/oauth_callback"
