"""``-C key=value`` → settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from slipway.mlflow_deployments.plugin import parse_target, run_local, target_help
from slipway.mlflow_deployments.settings import KEYS, DeploySettings, gateway, parse_config


def test_table_and_settings_have_the_same_keys_and_the_help_shows_each() -> None:
    assert [field.name for field in fields(DeploySettings)] == list(KEYS)
    assert [name for name in KEYS if f"\n  {name} " not in target_help()] == []


def test_texts_of_the_command_line_and_python_values_mean_the_same() -> None:
    texts = {
        "traffic": "10",
        "wait": "False",
        "confidence": "0.5",
        "replicas": "2",
        "input": "416x416",
        "timeout_s": "60",
    }
    values = {"traffic": 10, "wait": False, "confidence": 0.5, "replicas": 2, "input": "416x416", "timeout_s": 60}
    assert parse_config(texts) == parse_config(values)
    assert parse_config(texts) == DeploySettings(
        traffic=10, wait=False, confidence=0.5, replicas=2, input="416x416", timeout_s=60.0
    )
    assert parse_config(None) == DeploySettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traffic", "ten"), ("traffic", "101"), ("traffic", -1), ("traffic", 1.5), ("traffic", True), ("traffic", "nan"),
        ("replicas", 0), ("wait", "yes"), ("wait", 1), ("confidence", "inf"), ("confidence", "nan"), ("iou", 2),
        ("input", "416"), ("input", "0x416"), ("engine", "tensorrt"), ("namespace", ""), ("namespace", 7),
        ("timeout_s", 0), ("tag", None), ("promote", "soon"), ("rollback", 1), ("why", ""),
    ],
)  # fmt: skip
def test_value_that_makes_no_sense_names_key_and_what_is_expected(name: str, value: Any) -> None:
    with pytest.raises(MlflowException, match=f"-C {name}=.*: expected ") as refused:
        parse_config({name: value})
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_unknown_key_lists_those_that_there_are() -> None:
    with pytest.raises(MlflowException, match="-C trafic: no such key; there are namespace, traffic"):
        parse_config({"trafic": "10"})


def test_endpoint_is_the_namespace() -> None:
    assert parse_config({}, endpoint="team").namespace == "team"
    assert parse_config({"namespace": "team"}, endpoint="team").namespace == "team"
    with pytest.raises(MlflowException, match="give one of them"):
        parse_config({"namespace": "other"}, endpoint="team")


@given(
    st.dictionaries(st.sampled_from(list(KEYS)), st.none() | st.booleans() | st.floats() | st.integers() | st.text())
)
def test_any_configuration_is_parsed_or_refused(config: dict[str, Any]) -> None:
    try:
        parse_config(config)
    except MlflowException as refused:
        assert refused.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"SLIPWAY_GATEWAY": ""}, "http://127.0.0.1:8080"),
        ({"SLIPWAY_GATEWAY": "gw:9000"}, "http://gw:9000"),
        ({"SLIPWAY_GATEWAY": "https://gw/"}, "https://gw"),
    ],
)
def test_gateway_comes_from_the_environment(env: dict[str, str], address: str) -> None:
    assert gateway(env) == address


@pytest.mark.parametrize(
    ("uri", "context"),
    [
        ("slipway", None),
        ("slipway:/", None),
        ("slipway:/kind-dev", "kind-dev"),
        ("slipway://kind-dev", "kind-dev"),
        ("slipway:/arn:aws:eks:eu:1:cluster/a", "arn:aws:eks:eu:1:cluster/a"),
    ],
)
def test_target_names_a_context(uri: str, context: str | None) -> None:
    assert parse_target(uri) == context


def test_run_local_says_what_to_do_instead() -> None:
    with pytest.raises(MlflowException, match="slipway up") as refused:
        run_local("yolo", "models:/a/1", None, {})
    assert refused.value.error_code == "NOT_IMPLEMENTED"
