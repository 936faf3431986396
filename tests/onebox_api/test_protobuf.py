"""Kubernetes' protobuf bodies, byte by byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.onebox.api.autoscaling import REST, from_v1, to_v1
from slipway.onebox.api.bodies import parse_body
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.protobuf import MAX_FIELDS, Envelope, decode_message, load_numbers, parse_envelope
from slipway.onebox.api.types import load_types

TYPES = load_types()
PROTOBUF = "application/vnd.kubernetes.protobuf"


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(kind: str, message: bytes, *, version: str = "v1") -> bytes:
    return b"k8s\x00" + field(1, field(1, version) + field(2, kind)) + field(2, message)


def entry(key: str, value: bytes | str) -> bytes:
    return field(1, key) + field(2, value)


def test_numbers_name_fields_of_the_schemas() -> None:
    def leaves(numbers: dict[int, object]) -> list[str]:
        return [name for item in numbers.values() for name in (leaves(item) if isinstance(item, dict) else [item])]  # type: ignore[misc]

    for name, numbers in load_numbers().items():
        found = leaves(numbers)
        assert not set(found) - TYPES[name]["properties"].keys(), name
        assert len(found) == len(set(found)), name


def test_types_below_a_type_that_is_read_are_read_too() -> None:
    def inner(schema: dict[str, object]) -> dict[str, object]:
        below = schema.get("items") or schema.get("additionalProperties")
        return inner(below) if isinstance(below, dict) else schema

    missing = {
        str(schema["x-slipway-type"])
        for name in load_numbers()
        for schema in map(inner, TYPES[name]["properties"].values())
        if "properties" in schema
    }
    assert missing <= load_numbers().keys()


def test_every_form_of_a_value_is_read() -> None:
    container = (
        field(1, "c")
        + field(3, "serve")
        + field(3, "-v")
        + field(8, field(1, entry("cpu", field(1, "500m"))))
        + field(10, field(1, field(2, field(1, "/live") + field(2, field(1, 1) + field(3, "http")))) + field(2, 5))
        + field(11, field(1, field(3, field(1, field(1, 0) + field(2, 9000)))))
        + field(17, 0)
        + field(18, 1)
    )
    spec = (
        field(2, container)
        + field(4, 0)
        + field(7, entry("zone", ""))
        + field(1, field(1, "v") + field(2, field(2, b"")))
    )
    meta = field(1, "p") + field(2, "") + field(8, field(1, 1_700_000_000)) + field(9, b"")
    assert decode_message(TYPES["Pod"], field(1, meta) + field(2, spec)) == {
        "metadata": {"name": "p", "creationTimestamp": "2023-11-14T22:13:20Z"},
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "command": ["serve", "-v"],
                    "resources": {"limits": {"cpu": "500m"}},
                    "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "initialDelaySeconds": 5},
                    "readinessProbe": {"tcpSocket": {"port": 9000}},
                    "tty": True,
                }
            ],
            "terminationGracePeriodSeconds": 0,  # a pointer: zero is a value
            "nodeSelector": {"zone": ""},
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }


def test_negative_numbers_and_bytes_are_read() -> None:
    assert decode_message(TYPES["Job"], field(2, field(7, -3)))["spec"]["backoffLimit"] == -3
    assert decode_message(TYPES["Secret"], field(2, entry("k", b"\xff\x00")))["data"] == {"k": "/wA="}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (field(99, 1), "the object: field number 99 is not read"),
        (field(2, field(99, "x")), "spec: field number 99 is not read"),
        (field(2, field(3, field(2, field(1, field(2, field(9, "iscsi")))))), "field number 9 is not read"),
        (field(1, 5), "bytes are expected, not a number"),
        (field(2, field(1, "x")), "spec.replicas: a whole number is expected"),
        (field(1, field(1, b"\xff")), "metadata.name: 'utf-8'"),
        (b"\x0a\x05ab", "unexpected end: field number 1 has 5 bytes, 2 are left"),
        (b"\xff" * 11, "too long a number at byte 0"),
        (b"\x0b", "wire type 3"),
        (field(1, field(8, field(1, 1 << 62))), "metadata.creationTimestamp: "),
        (field(1, field(14, "")) * 60_000, f"more than {MAX_FIELDS} fields"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_place(message: bytes, why: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_body(body("Deployment", message), PROTOBUF, kind="Deployment", schema=TYPES["Deployment"])
    assert refused.value.code == 400
    assert why in refused.value.message


def test_a_kind_without_numbers_is_415_and_says_what_works() -> None:
    with pytest.raises(Refused) as refused:
        parse_body(body("Lease", b""), PROTOBUF, kind="Lease", schema=TYPES["Lease"])
    assert refused.value.code == 415
    assert "kubectl apply -f" in refused.value.message


def test_another_kind_in_the_envelope_is_refused_as_in_json() -> None:
    parsed = parse_body(body("Secret", b""), PROTOBUF, kind="ConfigMap", schema=TYPES["ConfigMap"])
    assert parsed.value == {"apiVersion": "v1", "kind": "Secret"}


def test_an_envelope_is_read() -> None:
    assert parse_envelope(body("Pod", b"xyz")) == Envelope("v1", "Pod", b"xyz")
    with pytest.raises(ValueError, match="begins with"):
        parse_envelope(b"{}")
    with pytest.raises(ValueError, match="content encoding 'gzip'"):
        parse_envelope(body("Pod", b"") + field(3, "gzip"))


@given(st.binary(max_size=200), st.sampled_from(sorted(load_numbers())))
@example(b"\x12\x02\x0a\x00" * 40, "Deployment")
def test_no_bytes_do_more_than_a_value_error(data: bytes, name: str) -> None:
    try:
        value = decode_message(TYPES[name], data)
    except ValueError:
        return
    json.dumps(value)


@given(st.dictionaries(st.text(min_size=1), st.text()), st.text())
def test_a_config_map_comes_out_as_it_went_in(data: dict[str, str], name: str) -> None:
    message = field(1, field(1, name)) + b"".join(field(2, entry(key, value)) for key, value in data.items())
    value = decode_message(TYPES["ConfigMap"], message)
    assert value.get("data", {}) == data
    assert value["metadata"] == ({"name": name} if name else {})


def test_autoscaling_v1_loses_nothing_of_v2() -> None:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    }
    conditions = [{"type": "ScalingActive", "status": "True"}]
    stored = {
        "metadata": {"name": "h", "annotations": {"a": "b"}},
        "spec": {"maxReplicas": 3, "metrics": [cpu, memory], "behavior": {"scaleDown": {}}},
        "status": {"currentReplicas": 1, "conditions": conditions, "currentMetrics": None},
    }
    shown = to_v1(stored)
    assert shown["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}
    assert from_v1(shown) == stored


def test_a_spoilt_annotation_of_autoscaling_v1_is_refused() -> None:
    for text in ("{", "[]", '{"spec": 5}'):
        with pytest.raises(Refused, match=REST):
            from_v1({"metadata": {"annotations": {REST: text}}, "spec": {}})
