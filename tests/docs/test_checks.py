"""Each check of a page's commands goes red at a page that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data import REPOSITORY
from tests.docs import helm, kubectl, programs, prose, requests, steps, wanted, world
from tests.docs.commands import Command, commands, option, options
from tests.docs.findings import assert_none
from tests.helm_values.charts import charts, repositories


def command(line: str) -> Command:
    (found,) = commands(f"```bash\n{line}\n```\n")
    return found


def test_commands_of_a_page_are_found_with_their_lines() -> None:
    page = (
        "# A\n\n```console\n$ a b\nan answer\n$ A=1 c \\\n  'd e'  # why\n```\n\n```bash\nf\n```\n```yaml\ng: h\n```\n"
    )
    assert commands(page) == [Command(4, ("a", "b")), Command(6, ("c", "d e")), Command(11, ("f",))]


def test_options_are_read_in_both_forms() -> None:
    words = ("kubectl", "-n", "a", "--from=cronjob/b", "-f", "c", "-f", "d", "-k")
    assert option(words, "-n", "--namespace") == "a"
    assert option(words, "--from") == "cronjob/b"
    assert options(words, "-f", "--filename") == ["c", "d"]
    assert options(words, "-k") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kubectl aply -k kubernetes", "no subcommand aply"),
        ("kubectl apply --serverside -k kubernetes", "no flag --serverside"),
        ("kubectl rollout state deployment/a", "no subcommand rollout state"),
        ("kubectl -n a create secret generics b", "no subcommand create secret generics"),
        ("kubectl create secret generic a --from-envfile=b", "no flag --from-envfile"),
        ("kubectl get pods -q", "no flag -q"),
    ],
)
def test_what_kubectl_does_not_have_is_found(line: str, said: str) -> None:
    (found,) = kubectl.complain_of_flags(command(line))
    assert said in found


@pytest.mark.parametrize(
    "line",
    [
        "kubectl -n a rollout status deployment/b --timeout=300s",
        "kubectl apply --server-side -k kubernetes",
        "kubectl get sdep -A -o yaml",
        "kubectl -n a exec deployment/b -- python --version",
    ],
)
def test_what_kubectl_has_is_no_finding(line: str) -> None:
    assert not list(kubectl.complain_of_flags(command(line)))


@pytest.mark.parametrize(
    "line", ["kubectl apply -k seldon/no", "kubectl apply -f no.yaml", "kubectl kustomize istio/no"]
)
def test_missing_files_are_found(line: str) -> None:
    assert len(list(kubectl.complain_of_files(command(line), REPOSITORY))) == 1


def test_folder_that_does_not_build_is_found(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [no.yaml]\n")
    with pytest.raises(AssertionError, match=r"no\.yaml"):
        kubectl.build(tmp_path)


def test_what_kubectl_would_not_create_is_found(tmp_path: Path) -> None:
    wrong = command("kubectl -n a create secret generic b --from-env-file=no.env")
    (said,) = kubectl.complain_of_create(wrong, tmp_path)
    assert "no.env" in said
    assert not list(kubectl.complain_of_create(command("kubectl create namespace a"), tmp_path))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kubectl -n b rollout status deployment/c", "nothing makes the namespace b"),
        ("kubectl -n a rollout status deployment/d", "nothing makes deployment/d in a"),
        ("kubectl -n a create job e --from=cronjob/f", "nothing makes cronjob/f in a"),
        ("kubectl port-forward service/c 1:2", "nothing makes service/c in no namespace"),
    ],
)
def test_what_nothing_makes_is_found(line: str, said: str) -> None:
    there = world.World(frozenset({("a", "deployment", "c"), ("a", "namespace", "a")}), frozenset({"a"}), ())
    assert any(said in found for found in world.complain_of_targets(command(line), there))
    assert not list(world.complain_of_targets(command("kubectl -n a rollout status deployment/c"), there))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("helm repo add istio https://example.org", "has https://istio-release"),
        ("helm repo add nobody https://example.org", "has None"),
        ("helm instal a b", "helm instal is not among"),
        ("helm upgrade --install istiod istio/istio", "no chart istio/istio"),
        (
            "helm upgrade --install istiod istio/istiod -n istio-system --version 1.30.2 -f helm-values/istiod.yaml",
            "version",
        ),
        (
            "helm upgrade --install a istio/istiod -n istio-system --version 1.30.3 -f helm-values/istiod.yaml",
            "release",
        ),
        (
            "helm upgrade --install istiod istio/istiod -n istio --version 1.30.3 -f helm-values/istiod.yaml",
            "namespace",
        ),
        (
            "helm upgrade --install istiod seldonio/istiod -n istio-system --version 1.30.3 -f helm-values/istiod.yaml",
            "repo",
        ),
        ("helm upgrade --install istiod istio/istiod -n istio-system --version 1.30.3", "without istiod.yaml"),
        (
            "helm upgrade --install istiod istio/istiod -n istio-system --version 1.30.3 -f helm-values/istiod.yaml -f no.yaml",
            "no.yaml does not exist",
        ),
        (
            "helm upgrade --install istiod istio/istiod -n istio-system --version 1.30.3 -f helm-values/istiod.yaml --atomics",
            "no flag --atomics",
        ),
        ("helm rollback istio -n istio-system", "no release istio"),
    ],
)
def test_wrong_helm_is_found(line: str, said: str) -> None:
    (found,) = helm.complain(command(line), charts(), repositories(), repository=REPOSITORY)
    assert said in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("slipway aply -k a", "aply"),
        ("slipway crd instal", "instal"),
        ("slipway apply --kustomise a", "--kustomise"),
        ("slipway model register shapes", "--cfg"),
        ("slipway model", "Usage: model"),
    ],
)
def test_what_slipway_does_not_take_is_found(line: str, said: str) -> None:
    (found,) = programs.complain_of_slipway(command(line))
    assert said in found


@pytest.mark.parametrize(
    "line", ["slipway doctor -n default --json", "slipway crd", "slipway crd install", "slipway --help"]
)
def test_what_slipway_takes_is_no_finding(line: str) -> None:
    assert not list(programs.complain_of_slipway(command(line)))


@pytest.mark.parametrize("line", ["make image", "make images IMAGE=a", "make images BUIL=b"])
def test_what_make_does_not_have_is_found(line: str) -> None:
    assert len(list(programs.complain_of_make(command(line), REPOSITORY / "Makefile"))) == 1


@pytest.mark.parametrize("line", ["python -m scripts.no", "python no.py"])
def test_module_that_is_not_there_is_found(line: str) -> None:
    assert len(list(programs.complain_of_module(command(line), REPOSITORY))) == 1


@pytest.mark.parametrize("line", ["minikube begin", "rm -r a"])
def test_program_of_others_that_is_not_known_is_found(line: str) -> None:
    assert len(list(programs.complain_of_external(command(line)))) == 1


def test_requests_are_summed_by_replicas() -> None:
    container = {"resources": {"requests": {"cpu": "250m", "memory": "512Mi"}}}
    deployment = {"kind": "Deployment", "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}}}
    assert requests.of_objects([deployment, {"kind": "Service"}]).row() == ("0.50", "1.00 GiB", "none")
    assert requests.asked(container["resources"], disk="10Gi").times(3).row() == ("0.75", "1.50 GiB", "30 GiB")


def test_secret_that_nothing_makes_is_found() -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "b"}}} for name in ("there", "missing")]
    volumes = [
        {"name": "a", "secret": {"secretName": "mounted"}},
        {"name": "b", "secret": {"secretName": "not-needed", "optional": True}},
    ]
    pod = {"kind": "Pod", "metadata": {"namespace": "a"}, "spec": {"containers": [{"env": env}], "volumes": volumes}}
    there = world.World(frozenset({("a", "secret", "there"), ("b", "secret", "missing")}), frozenset(), (pod,))
    assert wanted.secrets_missing(there) == {("a", "missing"), ("a", "mounted")}


def test_secret_of_models_is_copied_but_must_be_at_home() -> None:
    def pod(namespace: str) -> kubectl.Object:
        env = [{"secretRef": {"name": "slipway-model-storage"}}]
        return {"kind": "Pod", "metadata": {"namespace": namespace}, "spec": {"containers": [{"envFrom": env}]}}

    there = world.World(frozenset(), frozenset(), (pod("team-a"), pod("slipway-system")))
    assert wanted.secrets_missing(there) == {("slipway-system", "slipway-model-storage")}


def test_images_are_those_without_a_registry() -> None:
    objects = [{"image": "slipway/executor:0.1.0"}, {"image": "registry.example/slipway/mlflow:0.1.0"}]
    assert wanted.images_used([*objects, {"args": ["--a=slipway/b:1"]}]) == {"executor", "b"}
    assert wanted.images_used(objects, but=["slipway/executor:0.2.0"]) == set()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kubectl -n a port-forward service/b 5000:5001", "service/b has no port 5001"),
        ("kubectl -n a port-forward service/b 5000:http", "service/b has no port http"),
        ("kubectl -n seaweedfs port-forward service/seaweedfs-s3 8333:8334", "has no port 8334"),
        ("kubectl -n c port-forward service/b 5000:5000", "service/b has no port 5000"),
        ("kubectl -n a port-forward deployment/b 5000:5000", "forwards from a deployment"),
        ("kubectl -n a port-forward service/b", "forwards no port"),
    ],
)
def test_port_that_a_service_has_not_is_found(line: str, said: str) -> None:
    service = {"kind": "Service", "metadata": {"name": "b", "namespace": "a"}, "spec": {"ports": [{"port": 5000}]}}
    there = world.World(frozenset(), frozenset(), (service,))
    (found,) = steps.complain_of_ports(command(line), there)
    assert said in found
    assert not list(steps.complain_of_ports(command("kubectl -n a port-forward service/b 80:5000"), there))


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("kubectl create namespace team", "kubectl -n team get pods"),
        ("slipway tenant add team", "kubectl --namespace=team get pods"),
        ("helm upgrade --install a a/a --namespace team --create-namespace", "helm upgrade --install b a/b -n team"),
        ("kubectl apply -k kubernetes", "kubectl apply -k monitoring/kubernetes"),
    ],
)
def test_namespace_that_is_made_too_late_is_found(above: str, below: str) -> None:
    first, second = command(above), command(below)
    assert not list(steps.namespaces_too_early([first, second], REPOSITORY))
    (said,) = steps.namespaces_too_early([second, first], REPOSITORY)
    assert "nothing above makes the namespace" in said


def test_each_finding_has_a_line_of_its_own() -> None:
    assert_none([])
    with pytest.raises(AssertionError, match=r"^\na\nb$"):
        assert_none(["a", "b"])


def test_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A heading: `x`\n")
    page = tmp_path / "a.md"
    page.write_text("# Here\n[a](b.md) [b](b.md#a-heading-x) [c](#here) [d](https://example.org/)\n")
    assert not list(prose.complain_of_links(page))
    page.write_text("[a](c.md) [b](b.md#no) [c](#no)\n")
    assert [said.split()[1] for said in prose.complain_of_links(page)] == ["c.md", "b.md#no", "#no"]
