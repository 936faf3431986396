"""What a container gets: quantities, variables, volumes, mounts, an address, a log."""

from __future__ import annotations

import asyncio
import os
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.quantity import parse_quantity
from slipway.kube.kinds import POD
from slipway.onebox.runner.addresses import Addresses, NoAddress
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.environ import container_env, expand, thread_env
from slipway.onebox.runner.logs import MAX_LOG_BYTES, LogFile, Output
from slipway.onebox.runner.memory import parse_pss
from slipway.onebox.runner.placement import Bind, place, translate
from slipway.onebox.runner.references import MissingReference, Sources
from slipway.onebox.runner.spec import InvalidPod, parse_pod
from slipway.onebox.runner.unhonoured import unhonoured_fields
from slipway.onebox.runner.volumes import VolumeFile, plain_folder, volume_files, write_files, write_volumes
from tests.onebox_runner.objects import pod_object
from tests.waiting import eventually

SOURCES = Sources(
    config_maps={("default", "c"): {"data": {"KEY": "value"}}},
    secrets={("default", "s"): {"data": {"TOKEN": "dG9rZW4="}}},
    cpus=4,
    memory_bytes=1 << 30,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        (1.5, "1.5"),
        ("128Mi", str(128 << 20)),
        ("1e3", "1000"),
        ("1G", "1000000000"),
        (".5", "0.5"),
    ],
)
def test_quantities_are_exact(text: str | float, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse_quantity(text), Decimal)
    except ValueError as exc:
        assert "is not a quantity" in str(exc)


@pytest.mark.parametrize(
    ("text", "value"),
    [("$(A)/x", "1/x"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A $", "$A $"), ("$(A)$(A)", "11"), ("$(A", "$(A")],
)
def test_references_to_variables_expand_as_in_kubernetes(text: str, value: str) -> None:
    assert expand(text, {"A": "1"}) == value


def env_of(*items: dict[str, Any], env_from: tuple[dict[str, Any], ...] = (), **container: Any) -> dict[str, str]:
    body = {"name": "main", "image": "a:1", "env": list(items), "envFrom": list(env_from), **container}
    pod = parse_pod(
        pod_object(spec={"containers": [body]}, metadata={"labels": {"version": "v1"}, "annotations": {"a/b": "x"}})
    )
    return container_env(
        pod.containers[0], pod, sources=SOURCES, ip="127.16.0.9", image_env={"KEY": "image", "IMAGE": "yes"}
    )


def test_variables_come_from_all_their_sources_and_later_ones_win() -> None:
    env = env_of(
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(IMAGE)"},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['version']"}}},
        {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "KEY"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MIB", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "x", "optional": True}}},
        env_from=({"configMapRef": {"name": "c"}}, {"prefix": "P_", "secretRef": {"name": "s"}}),
        resources={"limits": {"memory": "512Mi"}},
    )
    assert env == {
        "IMAGE": "yes",
        "KEY": "value",
        "P_TOKEN": "token",
        "A": "1",
        "B": "1yes",
        "LABEL": "v1",
        "NOTE": "x",
        "IP": "127.16.0.9",
        "MAP": "value",
        "SECRET": "token",
        "CPU": "4",
        "MIB": "512",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "nope", "key": "k"}}, "ConfigMap default/nope does not exist"),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "has no key 'k'; there are: ['TOKEN']"),
        ({"fieldRef": {"fieldPath": "spec.colour"}}, "'spec.colour' is not one of"),
        ({"resourceFieldRef": {"resource": "limits.gpu"}}, "'limits.gpu' is not"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(MissingReference) as caught:
        env_of({"name": "X", "valueFrom": source})
    assert message in str(caught.value)


def test_threads_follow_the_cpu_share() -> None:
    assert thread_env(None) == {}
    assert thread_env(0.5)["OMP_NUM_THREADS"] == "1"
    assert thread_env(1000)["OMP_NUM_THREADS"] == str(os.cpu_count())


def binds(*targets: str) -> list[Bind]:
    return [Bind(Path("/real") / str(n), target) for n, target in enumerate(targets)]


def exists_only(*paths: str) -> Any:
    return lambda path: path in ("/", *paths)


def test_mounts_are_real_wherever_the_machine_allows() -> None:
    found = place(
        binds("/mnt/models", "/etc/podinfo", "/models", "/home/x", "/etc/a/b"),
        has_namespaces=True,
        exists=exists_only("/mnt", "/etc", "/home/x", "/home"),
    )
    assert [(overlay.ancestor, overlay.folders) for overlay in found.overlays] == [
        ("/etc", ("podinfo", "a/b")),
        ("/mnt", ("models",)),
    ]
    assert {bind.target for bind in found.binds} == {"/mnt/models", "/etc/podinfo", "/home/x", "/etc/a/b"}
    assert found.translations == {"/models": "/real/2"}
    assert found.mode == "translated"


def test_nothing_under_a_shared_folder_is_hidden_by_an_overlay() -> None:
    found = place(binds("/tmp/models"), has_namespaces=True, exists=exists_only("/tmp"))
    assert found.overlays == ()
    assert found.translations == {"/tmp/models": "/real/0"}


def test_a_mount_inside_another_comes_after_it() -> None:
    found = place(binds("/mnt/models/sub", "/mnt/models"), has_namespaces=True, exists=exists_only("/mnt"))
    assert [bind.target for bind in found.binds] == ["/mnt/models", "/mnt/models/sub"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/mnt/models", "/v/m"),
        ("/mnt/models/a.cfg", "/v/m/a.cfg"),
        ("--model=/mnt/models/a", "--model=/v/m/a"),
        ("file:///mnt/models/x", "file:///v/m/x"),
        ("/mnt/models2", "/mnt/models2"),
        ("see /mnt/models", "see /mnt/models"),
        ("/other/mnt/models", "/other/mnt/models"),
        ("/mnt/models/inner/x", "/v/inner/x"),
    ],
)
def test_translation_replaces_a_mounted_path_at_the_start_only(word: str, expected: str) -> None:
    assert translate(word, {"/mnt/models": "/v/m", "/mnt/models/inner": "/v/inner"}) == expected


def test_a_volume_changes_all_at_once_and_only_when_it_must(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert write_files(folder, {"a": VolumeFile(b"1"), "d/b": VolumeFile(b"2", 0o400)})
    assert (folder / "a").read_text() == "1"
    assert (folder / "d" / "b").stat().st_mode & 0o777 == 0o400
    assert (folder / "a").readlink() == Path("..data/a")
    assert not write_files(folder, {"a": VolumeFile(b"1"), "d/b": VolumeFile(b"2", 0o400)})
    data = (folder / "..data").readlink()
    assert write_files(folder, {"c": VolumeFile(b"3")})
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["c", "..data", str((folder / "..data").readlink())]
    )
    assert not (folder / data).exists()


def test_projected_volumes_join_their_sources() -> None:
    volume = {
        "name": "all",
        "projected": {
            "sources": [
                {"configMap": {"name": "c", "items": [{"key": "KEY", "path": "conf/key"}]}},
                {"secret": {"name": "s"}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ]
        },
    }
    pod = parse_pod(pod_object(metadata={"labels": {"b": "2", "a": "1"}}))
    files = volume_files("all", volume, pod, sources=SOURCES, ip="")
    assert files is not None
    assert {name: file.content for name, file in files.items()} == {
        "conf/key": b"value",
        "TOKEN": b"token",
        "labels": b'a="1"\nb="2"',
    }


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x"])
def test_a_volume_file_cannot_leave_its_volume(path: str) -> None:
    volume = {"configMap": {"name": "c", "items": [{"key": "KEY", "path": path}]}}
    with pytest.raises(InvalidPod, match="leaves the volume"):
        volume_files("v", volume, parse_pod(pod_object()), sources=SOURCES, ip="")


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"hostPath": {"path": "/etc"}}, "readOnly: true in main"),
        ({"nfs": {"server": "x"}}, "nfs is not supported here"),
    ],
)
def test_volumes_that_this_machine_cannot_give_are_refused(
    tmp_path: Path, volume: dict[str, Any], message: str
) -> None:
    container = {"name": "main", "image": "a:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    pod = parse_pod(pod_object(spec={"containers": [container]}))
    with pytest.raises(InvalidPod) as caught:
        plain_folder("v", volume, pod, own=tmp_path / "own", sources=Sources(), claims=tmp_path / "claims")
    assert message in str(caught.value)


def test_addresses_are_unique_over_homes_and_free_of_listeners() -> None:
    one, two = Addresses("same seed"), Addresses("same seed")
    try:
        first, second = one.claim(ports=[9000]), two.claim(ports=[9000])
        assert first != second
        assert first.startswith("127.")
        with socket.create_server((first, 0)) as taken:
            port = taken.getsockname()[1]
            assert two.claim(ports=[port], wanted=first) != first
            assert one.claim(ports=[port], wanted=first, is_running=True) == first
    finally:
        one.close()
        two.close()


def test_a_port_that_another_program_holds_everywhere_is_named() -> None:
    addresses = Addresses("busy")
    try:
        with socket.create_server(("0.0.0.0", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(NoAddress, match=str(port)):
                addresses.claim(ports=[port])
    finally:
        addresses.close()


async def test_lines_are_stamped_and_none_is_lost_when_a_container_ends(tmp_path: Path) -> None:
    output = Output(tmp_path / "logs" / "main" / "0.log", pipes=tmp_path / "main", is_new=True)
    with output.writers() as (stdout, stderr):
        os.write(stdout, b"one\ntwo")
        os.write(stderr, b"err\n")
    await asyncio.to_thread(lambda: None)
    output.close()
    lines = (tmp_path / "logs" / "main" / "0.log").read_text().splitlines()
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["stderr F err", "stdout F one", "stdout F two"]
    assert all(line.split(" ")[0].endswith("Z") for line in lines)


async def test_a_container_prints_on_while_no_runner_reads(tmp_path: Path) -> None:
    first = Output(tmp_path / "logs" / "0.log", pipes=tmp_path / "main", is_new=True)
    with first.writers() as (stdout, _):
        container = os.dup(stdout)
    first.close()
    os.write(container, b"nobody listens\n")
    second = Output(tmp_path / "logs" / "0.log", pipes=tmp_path / "main", is_new=False)
    await eventually(lambda: "nobody listens" in (tmp_path / "logs" / "0.log").read_text())
    second.close()
    os.close(container)


def test_a_log_is_bounded(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "0.log")
    for _ in range(5):
        log.write("stdout", [b"x" * (MAX_LOG_BYTES // 2)])
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"0.log", "0.log.1"}
    assert all(size <= MAX_LOG_BYTES for size in sizes.values())


async def test_only_the_logs_of_the_last_two_runs_stay(tmp_path: Path) -> None:
    for restart in range(4):
        Output(tmp_path / "logs" / f"{restart}.log", pipes=tmp_path / "main", is_new=True).close()
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["2.log", "3.log"]


def test_pss_is_read_from_the_kernel_s_summary() -> None:
    assert parse_pss("00400000-7fff r--p\nRss: 10 kB\nPss:    7 kB\nPss_Dirty: 1 kB\n") == 7 * 1024
    with pytest.raises(ValueError, match="no Pss line"):
        parse_pss("Rss: 1 kB\n")


class View:
    """What the watch has shown so far."""

    def __init__(self) -> None:
        self.shown: dict[tuple[str, str], Any] = {}

    def objects(self, _: Any) -> Any:
        return self.shown


def versioned(version: int, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"namespace": "n", "name": "p", "uid": uid, "resourceVersion": str(version)}}


def test_our_own_writes_are_seen_before_the_watch_shows_them() -> None:
    view, now = View(), [0.0]
    cache = Cache(view, clock=lambda: now[0])  # type: ignore[arg-type]
    cache.remember(POD, versioned(5))
    assert cache.objects(POD)["n", "p"]["metadata"]["resourceVersion"] == "5"
    view.shown["n", "p"] = versioned(4)
    assert cache.objects(POD)["n", "p"]["metadata"]["resourceVersion"] == "5"
    view.shown["n", "p"] = versioned(6)
    assert cache.objects(POD)["n", "p"]["metadata"]["resourceVersion"] == "6"
    cache.forget(POD, versioned(6))
    assert cache.objects(POD) == {}
    view.shown["n", "p"] = versioned(9, uid="successor")
    assert cache.objects(POD)["n", "p"]["metadata"]["uid"] == "successor"


def test_a_write_that_the_watch_never_shows_is_forgotten() -> None:
    view, now = View(), [0.0]
    cache = Cache(view, clock=lambda: now[0])  # type: ignore[arg-type]
    cache.remember(POD, versioned(5))
    now[0] = 11.0
    assert cache.objects(POD) == {}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"readinessProbe": {"httpGet": {"port": "web"}}}, "no container port is named 'web'"),
        ({"livenessProbe": {"periodSeconds": 5}}, "one of httpGet, tcpSocket, exec, grpc"),
        ({"resources": {"limits": {"cpu": "many"}}}, "'many' is not a quantity"),
        ({"restartPolicy": "Always"}, "sidecar"),
        ({"name": "../other"}, "containers: '../other' is not a name"),
        ({"ports": [{"containerPort": 99999}]}, "99999 is not a port"),
        ({"ports": [{}]}, "the field 'containerPort' is missing"),
        ({"readinessProbe": {"tcpSocket": {"port": 70000}}}, "70000 is not a port"),
        ({"lifecycle": "none"}, "'str' object has no attribute"),
    ],
)
def test_a_pod_that_cannot_be_honoured_is_refused_with_the_field(container: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPod) as caught:
        parse_pod(pod_object(spec={"containers": [{"name": "main", "image": "a:1", **container}]}))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"volumes": [{"name": "../../other", "emptyDir": {}}]}, "volumes: '../../other' is not a name"),
        ({"restartPolicy": "Sometimes"}, "'Sometimes' is not one of Always"),
        ({"readinessGates": [{}]}, "the field 'conditionType' is missing"),
    ],
)
def test_a_spec_that_cannot_be_read_is_refused_with_the_field(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPod) as caught:
        parse_pod(pod_object(spec={"containers": [{"name": "main", "image": "a:1"}], **spec}))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "volume",
    [
        {"persistentVolumeClaim": {}},
        {"configMap": "settings"},
        {"downwardAPI": {"items": [{"path": "a"}]}},
        {"projected": {"sources": [{"secret": None}]}},
    ],
)
def test_a_volume_of_the_wrong_shape_is_refused_by_name(tmp_path: Path, volume: dict[str, Any]) -> None:
    main = {"name": "main", "image": "a:1"}
    pod = parse_pod(pod_object(spec={"containers": [main], "volumes": [{"name": "v", **volume}]}))
    with pytest.raises(InvalidPod, match=r"volumes\[v\]: "):
        write_volumes(pod, tmp_path, sources=Sources(), ip="127.16.0.1", claims=tmp_path / "claims")


@pytest.mark.parametrize("env", [{"value": "x"}, {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1"}}}, "A=x"])
def test_a_variable_of_the_wrong_shape_is_refused(env: Any) -> None:
    pod = parse_pod(pod_object(spec={"containers": [{"name": "main", "image": "a:1", "env": [env]}]}))
    with pytest.raises(InvalidPod, match="main: env: "):
        container_env(pod.containers[0], pod, sources=Sources(), ip="127.16.0.1", image_env={})


def test_what_is_not_carried_out_is_named() -> None:
    main = {
        "name": "main",
        "image": "a:1",
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "securityContext": {"runAsUser": 8888, "privileged": True},
        "ports": [{"containerPort": 80, "hostPort": 80}],
        "resources": {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}},
    }
    spec = {
        "containers": [main],
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "hostNetwork": True,
        "activeDeadlineSeconds": 5,
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    assert unhonoured_fields(pod_object(spec=spec)) == [
        "activeDeadlineSeconds",
        "containers[main].ports[80].hostPort",
        "containers[main].resources.limits.nvidia.com/gpu",
        "containers[main].securityContext.privileged",
        "hostNetwork",
        "volumes[v].emptyDir.sizeLimit",
    ]
