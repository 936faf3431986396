from __future__ import annotations

import pytest

from slipway.contract.parameters import ParameterError, parse_parameters
from slipway.microservice.settings import SettingError, read_settings
from slipway.serving.listening import every_address


def test_defaults_are_the_contracts():
    settings = read_settings(["Mod"], {})
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (9000, 5000, 6000)
    assert (settings.metrics_path, settings.workers, settings.threads) == ("/metrics", 1, 1)
    assert settings.host == every_address()
    assert settings.metrics_in_replies
    assert not settings.payload_passthrough


def test_variables_and_flags():
    environment = {
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "9001",
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": "9501",
        "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": "6001",
        "PREDICTIVE_UNIT_METRICS_ENDPOINT": "/prometheus",
        "PREDICTIVE_UNIT_PARAMETERS": '[{"name":"a","value":"1","type":"INT"}]',
        "PREDICTIVE_UNIT_ID": "unit",
        "PREDICTIVE_UNIT_IMAGE": "img:1",
        "PREDICTOR_LABELS": '{"version": "v2"}',
        "GUNICORN_THREADS": "3",
        "GRPC_THREADS": "2",
        "SELDON_LOG_LEVEL": "debug",
        "SLIPWAY_POD_IP": "127.9.0.1",
        "INCLUDE_METRICS_IN_CLIENT_RESPONSE": "false",
        "PAYLOAD_PASSTHROUGH": "true",
    }
    settings = read_settings(
        ["pkg.Mod", "--http-port", "7", "--log-level", "ERROR", "--service-type", "MODEL"], environment
    )
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (7, 9501, 6001)
    assert (settings.metrics_path, settings.threads, settings.log_level) == ("/prometheus", 3, "DEBUG")
    assert settings.parameters == {"a": 1}
    assert settings.identity.predictor_version == "v2"
    assert settings.host == "127.9.0.1"
    assert settings.payload_passthrough
    assert not settings.metrics_in_replies


def test_every_flag_of_the_original_is_taken():
    flags = ["--persistence", "0", "--tracing", "--keepalive", "2", "--max-requests", "5", "--max-requests-jitter", "2",
             "--single-threaded", "1", "--access-log", "--debug", "--pidfile", "p", "--grpc-workers", "0",
             "--threads", "4"]  # fmt: skip
    settings = read_settings(["Mod", *flags], {})
    assert settings.grpc_port is None
    assert (settings.threads, settings.max_requests, settings.access_log, settings.debug) == (1, 5, True, True)


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        (["--http-port", "70000"], {}),
        (["--workers", "-1"], {}),
        (["--max-in-flight", "0"], {}),
        (["--max-in-flight", "1000000"], {}),
        (["--max-batch", "0"], {}),
        (["--drain", "soon"], {}),
        (["--log-level", "LOUD"], {}),
        ([], {"PREDICTIVE_UNIT_PARAMETERS": "{"}),
        ([], {"PREDICTOR_LABELS": "x"}),
        ([], {"PREDICTIVE_UNIT_METRICS_ENDPOINT": "metrics"}),
        ([], {"PAYLOAD_PASSTHROUGH": "perhaps"}),
    ],
)
def test_settings_that_make_no_sense_name_themselves(flags, environment):
    with pytest.raises(SettingError) as raised:
        read_settings(["Mod", *flags], environment)
    assert (
        flags[0] if flags else next(iter(environment)).replace("PREDICTIVE_UNIT_PARAMETERS", "--parameters")
    ) in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "value", "parsed"),
    [("INT", "3", 3), ("FLOAT", "0.5", 0.5), ("DOUBLE", "2", 2.0), ("STRING", "x", "x"),
     *(("BOOL", word, True) for word in ["y", "yes", "t", "true", "on", "1", "TRUE"]),
     *(("BOOL", word, False) for word in ["n", "no", "f", "false", "off", "0", "False"])],
)  # fmt: skip
def test_parameters_by_type(kind, value, parsed):
    result = parse_parameters([{"name": "p", "value": value, "type": kind}])["p"]
    assert result == parsed
    assert type(result) is type(parsed)


@pytest.mark.parametrize(
    "parameters",
    [{}, ["x"], [{}], [{"name": "a", "value": "x", "type": "INT"}], [{"name": "a", "value": "1", "type": "LIST"}],
     [{"name": "a", "value": "1"}], [{"name": "a", "value": "maybe", "type": "BOOL"}],
     [{"name": "a", "value": None, "type": "INT"}], [{"name": "a", "value": "1", "type": "INT"}] * 2],
)  # fmt: skip
def test_bad_parameters_are_errors(parameters):
    with pytest.raises(ParameterError):
        parse_parameters(parameters)


@pytest.mark.parametrize("kind", ["INT", "FLOAT", "BOOL", "LIST"])
def test_value_of_a_parameter_is_in_no_error(kind: str):
    with pytest.raises(ParameterError, match=r"parameters\[0\] \(token\) is not .*" + kind) as refused:
        parse_parameters([{"name": "token", "value": "sekret", "type": kind}])
    assert "sekret" not in str(refused.value)
    assert refused.value.__cause__ is None
    with pytest.raises(ParameterError, match="is dict, not an object with a name") as refused:
        parse_parameters([{"value": "sekret"}])
    assert "sekret" not in str(refused.value)
    with pytest.raises(SettingError, match="--parameters: 10 characters that are not JSON") as refused_text:
        read_settings(["Mod", "--parameters", '[{"sekret"'], {})
    assert "sekret" not in str(refused_text.value)
