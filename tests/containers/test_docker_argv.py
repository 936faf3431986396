"""A Pod template → the words of `docker create`, and this machine's pip settings → an image's: no engine is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.onebox.runner.environ import container_env
from slipway.onebox.runner.references import Sources
from slipway.onebox.runner.spec import InvalidPod, parse_pod
from slipway.registry import ResolvedModel
from tests.containers.docker import lacking, render_pip_settings
from tests.containers.docker_argv import create_argv, env_file
from tests.containers.read_only import read_only
from tests.data import REPOSITORY

Object = dict[str, Any]
BASE = REPOSITORY / "seldon" / "base" / "yolo" / "seldondeployment.yaml"
SHAPES = ResolvedModel("shapes", "1", f"sha256:{'1' * 64}", "s3://slipway-models/shapes/1")
CONTAINER: Object = {"name": "app", "image": "me/app:1"}


def template_of_base() -> Object:
    sdep = SeldonDeployment.from_json(yaml.safe_load(BASE.read_text()))
    made = desired(sdep, Facts(models={("stable", "yolo-detector"): SHAPES}))
    [deployment] = [item for item in made if item["kind"] == "Deployment"]
    template: Object = deployment["spec"]["template"]
    return template


def words(template: Object) -> dict[str, list[str]]:
    """Of each container, initializers first."""
    meta = {**template.get("metadata", {}), "namespace": "default", "name": "pod", "uid": "pod"}
    pod = parse_pod({"metadata": meta, "spec": template["spec"]})
    places = {name: Path("/volumes") / name for name in pod.volumes}
    found = {}
    for container in (*pod.init_containers, *pod.containers):
        env = container_env(container, pod, sources=Sources(), ip="127.0.0.1", image_env={})
        found[container.name] = create_argv(pod, template["spec"], container, network="sandbox", places=places, env=env)
    return found


@pytest.mark.parametrize("name", ["base", "read-only"])
def test_golden_words_of_seldon_base(golden: Callable[[str, str], None], name: str) -> None:
    template = template_of_base()
    found = words(read_only(template) if name == "read-only" else template)
    assert list(found) == [
        "yolo-detector-model-initializer",
        "image-transformer",
        "yolo-detector",
        "seldon-container-engine",
    ]
    golden(f"{name}.json", json.dumps(found, indent=1) + "\n")


def test_a_command_takes_the_place_of_the_entrypoint_and_names_are_filled_in() -> None:
    container = {
        **CONTAINER,
        "command": ["sh", "-c"],
        "args": ["echo $(WORD) $(OTHER) $$(WORD)"],
        "env": [{"name": "WORD", "value": "hello"}],
        "workingDir": "/srv",
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "1"}},
    }
    argv = words({"spec": {"containers": [container]}})["app"]
    assert argv[-3:] == ["me/app:1", "-c", "echo hello $(OTHER) $(WORD)"]
    text = " ".join(argv)
    assert "--entrypoint sh" in text
    assert "--workdir /srv" in text
    assert "--cpus 1.5 --memory 67108864" in text


def test_values_stand_in_no_word() -> None:
    container = {**CONTAINER, "env": [{"name": "PASSWORD", "value": "secret"}]}
    assert "secret" not in " ".join(words({"spec": {"containers": [container]}})["app"])
    assert env_file({"PASSWORD": "secret", "A": "b=c #d"}) == "PASSWORD=secret\nA=b=c #d\n"
    with pytest.raises(InvalidPod, match="PASSWORD: two lines"):
        env_file({"PASSWORD": "a\nROOT=yes"})


def test_a_containers_own_security_wins_over_its_pods() -> None:
    container = {**CONTAINER, "securityContext": {"runAsUser": 7, "runAsGroup": 8}}
    argv = words({"spec": {"containers": [container], "securityContext": {"runAsUser": 8888}}})["app"]
    assert argv[argv.index("--user") + 1] == "7:8"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"hostNetwork": True}, "spec: hostNetwork"),
        ({"securityContext": {"fsGroup": 1}}, "fsGroup"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}, "runAsUser is 0"),
        ({"containers": [{**CONTAINER, "stdin": True}]}, "app: stdin"),
        ({"containers": [{**CONTAINER, "resources": {"limits": {"nvidia.com/gpu": 1}}}]}, "nvidia.com/gpu"),
    ],
)
def test_what_is_not_known_is_refused_rather_than_left_out(spec: Object, said: str) -> None:
    with pytest.raises(InvalidPod, match=said):
        words({"spec": {"containers": [CONTAINER], **spec}})


def test_settings_of_pip_that_name_files_of_this_machine_stay_here() -> None:
    lines = [
        ":env:.index-url='https://index.example/simple'",
        "global.cert='/etc/ssl/own.crt'",
        "global.extra-index-url='file:///srv/index https://second.example/simple'",
        "global.find-links='/srv/wheels'",
        "global.index-url='https://other.example'",
        "user.timeout='60'",
        "install.no-binary='x'",
    ]
    assert render_pip_settings(lines).splitlines() == [
        "[global]",
        "extra-index-url = https://second.example/simple",
        "index-url = https://index.example/simple",
        "timeout = 60",
    ]


def test_what_real_containers_lack_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 1000)
    said = "real containers need: apt-get install debootstrap docker.io, and root, whom a Docker daemon belongs to"
    assert lacking() == said
