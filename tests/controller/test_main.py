"""What the controller's command line and environment say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import pytest

from slipway.contract.defaulting import PortPlan
from slipway.controller.seldon_options import add_seldons, ports_of

URL = "EXECUTOR_REQUEST_LOGGER_DEFAULT_ENDPOINT"


def read(*words: str, environment: Mapping[str, str] | None = None) -> tuple[str, bool]:
    parser = argparse.ArgumentParser()
    add_seldons(parser, environment or {})
    found = parser.parse_args(words)
    return found.request_logger_default_endpoint, found.deployment_name_as_prefix


def test_defaults_are_seldons():
    assert read() == ("http://default-broker", False)


def test_seldons_variables_count_and_flags_before_them():
    given = {URL: "http://one", "DEPLOYMENT_NAME_AS_PREFIX": "true"}
    assert read(environment=given) == ("http://one", True)
    assert read("--request-logger-default-endpoint", "http://two", environment=given) == ("http://two", True)
    assert read("--deployment-name-as-prefix") == ("http://default-broker", True)


@pytest.mark.parametrize("value", ["", "false", "0", "1", "yes"])
def test_prefix_is_asked_for_with_true_only(value: str):
    assert read(environment={"DEPLOYMENT_NAME_AS_PREFIX": value})[1] is False


@pytest.mark.parametrize("given", [{URL: "default-broker"}, {}])
def test_endpoint_that_is_no_url_is_refused(given: Mapping[str, str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        read(*(() if given else ("--request-logger-default-endpoint", "default-broker")), environment=given)
    assert "events are sent to http:// or https://" in capsys.readouterr().err


def plan(*words: str, environment: Mapping[str, str] | None = None) -> PortPlan:
    parser = argparse.ArgumentParser()
    add_seldons(parser, environment or {})
    return ports_of(parser.parse_args(words))


def test_ports_are_seldons_unless_its_variables_or_a_flag_say_otherwise():
    assert plan() == PortPlan(9000, 9500, 6000, "metrics")
    given = {"PREDICTIVE_UNIT_GRPC_SERVICE_PORT": "9700", "PREDICTIVE_UNIT_METRICS_PORT_NAME": "scrape"}
    assert plan(environment=given) == PortPlan(9000, 9700, 6000, "scrape")
    assert plan("--first-ports", "1,2,3", environment=given) == PortPlan(1, 2, 3, "scrape")


@pytest.mark.parametrize(
    "words",
    [
        ("--first-ports", "9000"),
        ("--first-ports", "9000,9500,x"),
        ("--first-ports", "9000,9500,0"),
        ("--first-ports", "9000,9500,60001"),
        ("--metrics-port-name", "Metrics"),
        ("--metrics-port-name", "a-name-of-16-let"),
        ("--metrics-port-name", "12"),
    ],
)
def test_ports_that_are_none_are_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        plan(*words)
    assert repr(words[1]) in capsys.readouterr().err
