"""`slipway check`: every finding has its file and line, and what is right passes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.cli.check_api import OfflineApi
from slipway.cli.check_lines import documents, find_line
from slipway.cli.check_references import references
from slipway.cli.check_world import World
from slipway.cli.main import main
from tests.data import REPOSITORY
from tests.test_repository import tracked_files

Object = dict[str, Any]
SDEP = """\
apiVersion: machinelearning.seldon.io/v1
kind: SeldonDeployment
metadata:
  name: yolo
spec:
  predictors:
    - name: stable
      traffic: 90
      graph:
        name: m
        type: MODEL
      componentSpecs:
        - spec:
            containers:
              - name: m
                image: slipway/yolo-detector:0.1.0
    - name: canary
      traffic: 10
      graph:
        name: m
        type: MODEL
      componentSpecs:
        - spec:
            containers:
              - name: m
                image: slipway/yolo-detector:0.1.0
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: yolo-front
spec:
  selector:
    seldon-app: yolo-stable
  ports:
    - port: 80
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: front
spec:
  selector:
    matchLabels:
      app: front
  template:
    metadata:
      labels:
        app: front
    spec:
      containers:
        - name: web
          image: slipway/yolo-detector:0.1.0
          env:
            - name: COLOUR
              valueFrom:
                configMapKeyRef:
                  name: colours
                  key: front
"""
COLOURS = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: colours
data:
  front: green
"""
BY_PROCESSOR = {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 60}}
BY_QUEUE = {"type": "Pods", "pods": {"metricName": "slipway_queue_seconds", "targetAverageValue": "50m"}}
HPA = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: front
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: front
  maxReplicas: 3
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: 70
"""
WHOLE = f"{SDEP}---\n{SERVICE}---\n{DEPLOYMENT}---\n{COLOURS}"


def check(*words: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one, below which the image of the manifests is."""
    image = tmp_path / "images" / "yolo-detector"
    image.mkdir(parents=True)
    (image / "image.yaml").write_text("name: slipway/yolo-detector\nclass: a.B\n")
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "m"


def only_line(result: Result, code: int = 1) -> str:
    """The one finding."""
    assert result.exit_code == code, result.output
    *findings, _ = result.output.splitlines()
    assert len(findings) == 1, result.output
    return findings[0]


def test_what_is_right_passes(folder: Path) -> None:
    (folder / "all.yaml").write_text(WHOLE)
    result = check("m", "--strict")
    assert (result.exit_code, result.output) == (0, "4 manifests, 0 kustomizations, 0 errors, 0 warnings\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "traffic: 10",
            "traffic: 15",
            "m/a.yaml:5: error: SeldonDeployment yolo: spec: traffic of the live predictors sums to 105, not 100 (stable 90, canary 15)",
        ),
        (
            "    - name: canary",
            "    - name: stable",
            "m/a.yaml:17: error: SeldonDeployment yolo: spec.predictors[1]: name 'stable' is another predictor's too",
        ),
        (
            "      traffic: 90\n      graph:\n        name: m",
            "      traffic: 90\n      graph:\n        name: x",
            "m/a.yaml:9: error: SeldonDeployment yolo: spec.predictors[0].graph: node 'x': no container of that name in componentSpecs",
        ),
        (
            "      traffic: 90\n      graph:\n        name: m",
            "      traffic: 90\n      graph:\n        name: n",  # as kubectl reads it: false
            'm/a.yaml:10: error: SeldonDeployment yolo: spec.predictors[0].graph.name: Invalid value: "boolean": spec.predictors[0].graph.name in body must be of type string: "boolean"',
        ),
        (
            "      traffic: 90",
            "      trafic: 1\n      traffic: 90",
            "m/a.yaml:8: error: SeldonDeployment yolo: spec.predictors[0].trafic: is not a field of this kind",
        ),
        (
            "image: slipway/yolo-detector:0.1.0\n    - name: canary",
            "image: slipway/yolo-detector\n    - name: canary",
            "m/a.yaml:16: error: SeldonDeployment yolo: spec.predictors[0].componentSpecs[0].spec.containers[0].image: 'slipway/yolo-detector' may be another image tomorrow: say a tag that is not `latest`, or a digest",
        ),
        (
            "image: slipway/yolo-detector:0.1.0\n    - name: canary",
            "image: slipway/nobody:0.1.0\n    - name: canary",
            "m/a.yaml:16: error: SeldonDeployment yolo: spec.predictors[0].componentSpecs[0].spec.containers[0].image: no image.yaml has `name: slipway/nobody`: one machine runs only images built from one",
        ),
        (
            "image: slipway/yolo-detector:0.1.0\n    - name: canary",
            "image: slipway/yolo-detector:0.1.0\n                readinessProbe: {periodSeconds: 1}\n    - name: canary",
            "m/a.yaml:17: error: SeldonDeployment yolo: spec.predictors[0].componentSpecs[0].spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ),
        (
            "        - name: web\n",
            "        - name: web\n          imagePullPolicy: Bogus\n",
            'm/a.yaml:53: error: Deployment front: spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "Bogus": supported values: "Always", "IfNotPresent", "Never"',
        ),
        (
            "seldon-app: yolo-stable",
            "seldon-app: yolo-old",
            "m/a.yaml:33: error: Service yolo-front: spec.selector: seldon-app=yolo-old matches no Pod that anything here makes in namespace default",
        ),
        (
            "key: front",
            "key: back",
            "m/a.yaml:57: error: Deployment front: spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef: ConfigMap colours has no key 'back', there are: front",
        ),
        (
            "        app: front",
            "        app: back",
            'm/a.yaml:48: error: Deployment front: spec.template.metadata.labels: Invalid value: map[string]string{"app":"back"}: `selector` does not match template `labels`',
        ),
        ("      traffic: 90", "      traffic: 90\n      traffic: 91", "m/a.yaml:9: error: key 'traffic' comes twice"),
        ("  predictors:", "\tpredictors:", "m/a.yaml:6: error: found character that cannot start any token"),
    ],
)
def test_an_error_names_its_line(folder: Path, old: str, new: str, said: str) -> None:
    assert WHOLE.count(old) == 1
    (folder / "a.yaml").write_text(WHOLE.replace(old, new))
    assert only_line(check("m")) == said


def test_json_with_tabs_has_lines_too(folder: Path) -> None:
    sdep = yaml.safe_load(SDEP)
    sdep["spec"]["predictors"][0]["graph"]["type"] = "MODELL"
    text = json.dumps(sdep, indent="\t")
    (folder / "yolo.json").write_text(text)
    number = next(index for index, line in enumerate(text.splitlines(), 1) if '"graph"' in line)
    assert only_line(check("m")).startswith(f"m/yolo.json:{number}: error: ")


def test_a_child_of_a_graph_has_its_line(folder: Path) -> None:
    loaded = yaml.safe_load(SDEP)
    loaded["spec"]["predictors"][0]["graph"]["children"] = [{"name": "gone", "type": "MODEL"}]
    text = yaml.safe_dump(loaded, sort_keys=False)
    (folder / "a.yaml").write_text(text)
    line = text.splitlines().index("      - name: gone") + 1
    assert only_line(check("m")).startswith(f"m/a.yaml:{line}: error: ")


def test_an_hpa_without_requests_is_an_error_and_with_them_is_none(folder: Path) -> None:
    (folder / "a.yaml").write_text(f"{DEPLOYMENT}---\n{COLOURS}---\n{HPA}")
    assert "container 'web' requests no cpu: a percentage of it cannot be computed" in only_line(check("m"))
    whole = DEPLOYMENT.replace("          env:", "          resources: {requests: {cpu: 100m}}\n          env:")
    (folder / "a.yaml").write_text(f"{whole}---\n{COLOURS}---\n{HPA}")
    assert check("m", "--strict").exit_code == 0


@pytest.mark.parametrize("metrics", [[BY_PROCESSOR], []])  # 80 % of the processor where none is named
def test_an_hpa_spec_of_a_seldon_deployment_needs_requests_too(folder: Path, metrics: list[Any]) -> None:
    loaded = yaml.safe_load(SDEP)
    loaded["spec"]["predictors"][1]["componentSpecs"][0]["hpaSpec"] = {"maxReplicas": 2, "metrics": metrics}
    (folder / "a.yaml").write_text(yaml.safe_dump(loaded))
    assert "spec.predictors[1].componentSpecs[0].hpaSpec: container 'm' requests no cpu" in only_line(check("m"))


@pytest.mark.parametrize(("more", "is_told"), [([], True), ([{"type": "prometheus", "metadata": {}}], False)])
def test_a_keda_spec_that_only_rests_on_one_machine_is_told(
    folder: Path, more: list[dict[str, Any]], is_told: bool
) -> None:
    loaded = yaml.safe_load(SDEP)
    triggers = [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}, *more]
    loaded["spec"]["predictors"][1]["componentSpecs"][0]["kedaSpec"] = {"minReplicaCount": 0, "triggers": triggers}
    (folder / "a.yaml").write_text(yaml.safe_dump(loaded))
    said = "spec.predictors[1].componentSpecs[0].kedaSpec.triggers: KEDA never goes to 0 with these"
    assert (said in check("m").output) is is_told


def test_the_controller_is_taken_to_be_the_one_that_slipway_up_starts(folder: Path) -> None:
    loaded = yaml.safe_load(SDEP)
    loaded["metadata"]["annotations"] = {"slipway.dev/sticky": "header:x-user", "slipway.dev/rate-limit": "5/s"}
    triggers = [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}]
    container = loaded["spec"]["predictors"][1]["componentSpecs"][0]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": "1"}}
    loaded["spec"]["predictors"][1]["componentSpecs"][0]["kedaSpec"] = {"minReplicaCount": 1, "triggers": triggers}
    (folder / "a.yaml").write_text(yaml.safe_dump(loaded))
    result = check("m", "--strict")
    assert (result.exit_code, result.output) == (0, "1 manifest, 0 kustomizations, 0 errors, 0 warnings\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cooldownPeriod": "soon"}, "kedaSpec.cooldownPeriod: 'soon' is not a whole number from 0"),
        ({"minReplicaCount": 5, "maxReplicaCount": 3}, "kedaSpec.minReplicaCount: 5 is above maxReplicaCount 3"),
    ],
)
def test_what_keda_would_refuse_is_an_error(folder: Path, given: Object, said: str) -> None:
    loaded = yaml.safe_load(SDEP)
    triggers = [{"type": "cron", "metadata": {}}]
    loaded["spec"]["predictors"][1]["componentSpecs"][0]["kedaSpec"] = {"triggers": triggers, **given}
    (folder / "a.yaml").write_text(yaml.safe_dump(loaded))
    assert f"spec.predictors[1].componentSpecs[0].{said}" in only_line(check("m"))


def test_what_the_api_would_refuse_of_what_is_made_is_an_error(folder: Path) -> None:
    loaded = yaml.safe_load(SDEP)
    loaded["spec"]["predictors"][1]["componentSpecs"][0]["hpaSpec"] = {"maxReplicas": 0, "metrics": [BY_QUEUE]}
    (folder / "a.yaml").write_text(yaml.safe_dump(loaded))
    made = "the HorizontalPodAutoscaler yolo-canary-0-m that is made of it: spec.maxReplicas: Invalid value: 0"
    assert made in only_line(check("m"))


def test_an_entry_of_a_list_that_is_nothing_is_an_error(folder: Path) -> None:
    (folder / "a.yaml").write_text(WHOLE.replace("    - port: 80", "    - port: 80\n    -"))
    assert "Service yolo-front: spec.ports[1]: is null" in check("m").output


CHARTS = """\
apiVersion: v1
kind: Service
metadata: {name: inside, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{port: 8081}]}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEPLOYMENT, "ConfigMap colours in namespace default must exist before: nothing here makes it"),
        (HPA, "Deployment front in namespace default must exist before"),
        (SDEP.replace("spec:\n  predictors", "spec:\n  name: x\n  predictors"), "spec.name: has no effect"),
        (CHARTS, "istio=ingressgateway matches no Pod that anything here makes in namespace istio-system"),
        ("apiVersion: a.example/v1\nkind: Thing\nmetadata: {name: x}\n", "a.example/v1 Thing is not known here"),
    ],
)
def test_a_warning_fails_only_with_strict(folder: Path, text: str, said: str) -> None:
    (folder / "a.yaml").write_text(text)
    assert said in only_line(check("m"), 0)
    assert " warning: " in only_line(check("m", "--strict"), 1)


def test_router_whose_replicas_would_learn_alone_is_warned_of(folder: Path) -> None:
    """The overlay of docs/graph-components.md, with one replica more."""
    one = (REPOSITORY / "seldon" / "overlays" / "bandit" / "seldondeployment.yaml").read_text()
    one = re.sub(r"image: slipway/\S+", "image: slipway/yolo-detector:0.1.0", one)
    (folder / "a.yaml").write_text(one)
    assert " 0 warnings" in check("m").output
    (folder / "a.yaml").write_text(one.replace("replicas: 1", "replicas: 2"))
    line = one[: one.index("- name: router")].count("\n") + 1
    said = only_line(check("m"), 0)
    assert said.startswith(
        f"m/a.yaml:{line}: warning: SeldonDeployment bandit: spec.predictors[0].graph[0]: learns alone in"
    )


def test_an_overlay_is_rendered_and_the_base_is_named(folder: Path) -> None:
    for name in ("base", "overlay"):
        (folder / name).mkdir()
    (folder / "base" / "sdep.yaml").write_text(SDEP)
    (folder / "base" / "kustomization.yaml").write_text("resources: [sdep.yaml]\n")
    patch = "- target: {kind: SeldonDeployment}\n  patch: |-\n    - {op: replace, path: /spec/predictors/1/traffic, value: 11}\n"
    (folder / "overlay" / "kustomization.yaml").write_text(f"resources: [../base]\npatches:\n{patch}")
    assert only_line(check("m/overlay")).startswith(
        "m/base/sdep.yaml:5: error: SeldonDeployment yolo: spec: traffic of"
    )
    assert check("m/base").exit_code == 0


def test_a_kustomization_that_does_not_render_is_an_error(folder: Path) -> None:
    (folder / "kustomization.yaml").write_text("resources: [gone.yaml]\n")
    result = check("m")
    assert (result.exit_code, "m/kustomization.yaml: error: kubectl kustomize m:" in result.output) == (1, True)


def test_the_same_object_twice_is_an_error(folder: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(COLOURS)
    assert "comes twice" in only_line(check("m"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", ""), ("a.yaml", "# later\n---\n"), ("a.yaml", "a: 1\n"), ("a.json", '{"a": 1}'), ("a.md", SDEP)],
)
def test_a_path_without_any_manifest_is_an_error(folder: Path, name: str, text: str) -> None:
    (folder.parent / "right.yaml").write_text(SDEP)
    (folder / name).write_text(text)
    result = check("right.yaml", "m")
    assert result.exit_code == 1
    assert "m: error: nothing found here: a manifest has apiVersion and kind" in result.output


def test_an_empty_file_among_those_given_is_named(folder: Path) -> None:
    (folder / "a.yaml").write_text(SDEP)
    (folder / "empty.yaml").write_text("")
    result = check("m/a.yaml", "m/empty.yaml")
    assert (result.exit_code, result.output.splitlines()[0].partition(" here")[0]) == (
        1,
        "m/empty.yaml: error: nothing found",
    )
    assert check("m").exit_code == 0, "the folder has a manifest"


def test_what_is_no_manifest_is_named(folder: Path) -> None:
    (folder / "a.yaml").write_text(SDEP)
    (folder / "values.yaml").write_text("a: 1\n")
    result = check("m")
    assert (result.exit_code, result.output.splitlines()[0]) == (
        0,
        "no manifests, only read as YAML: m/values.yaml",
    )


def test_json_has_the_same(folder: Path) -> None:
    (folder / "a.yaml").write_text(SDEP.replace("traffic: 10", "traffic: 15"))
    answer = json.loads(check("m", "-o", "json").output)
    (finding,) = answer["findings"]
    assert (answer["errors"], answer["warnings"], answer["objects"]) == (1, 0, 1)
    assert (finding["file"], finding["line"], finding["field"]) == ("m/a.yaml", 5, "spec")


def test_every_manifest_of_this_repository_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shutil.which("kubectl"), "kustomizations are rendered by kubectl"
    monkeypatch.chdir(REPOSITORY)
    top = {name.split("/")[0] for name in tracked_files() if name.endswith((".yaml", ".yml"))}
    no_manifests = {"tests", "slipway", "helm-values", "compose.yaml"}
    result = check(*sorted(name for name in top - no_manifests if not name.startswith(".")))
    assert result.exit_code == 0, result.output


def test_the_document_shows_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    text = Path("docs/before-an-apply.md").read_text()
    _, _, rest = text.partition("$ slipway check ")
    words, _, shown = rest.partition("```")[0].partition("\n")
    assert check(*words.split()).output == shown


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=4), below, max_size=2),
    max_leaves=4,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_value_of_any_shape_anywhere_ends_in_findings(data: st.DataObject, api: OfflineApi) -> None:
    obj = data.draw(st.sampled_from([yaml.safe_load(text) for text in (SDEP, SERVICE, DEPLOYMENT, HPA)]))
    place = data.draw(st.sampled_from([item for item in _places(obj) if item[:1] == ("spec",)]))
    target = obj
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = data.draw(json_values)
    problems = [problem for _, problem in api.review([obj])]
    if not any(problem.is_error for problem in problems):
        world = World()
        world.add(obj)
        problems += references(obj, world, knows_image=lambda _: True)
    (node,) = documents(yaml.safe_dump(obj))
    assert all(find_line(node, problem.field)[1] >= 1 for problem in problems)


@pytest.fixture(scope="module")
def api() -> Iterator[OfflineApi]:
    with OfflineApi() as entered:
        yield entered


def test_wrong_usage_is_2() -> None:
    run: Callable[..., Result] = check
    assert [run().exit_code, run("nowhere").exit_code] == [2, 2]


def test_a_kustomization_that_is_no_yaml_names_its_line(folder: Path) -> None:
    (folder / "kustomization.yaml").write_text("resources:\n\t- a.yaml\n")
    lines = check("m").output.splitlines()
    assert "m/kustomization.yaml:2: error: found character that cannot start any token" in lines
