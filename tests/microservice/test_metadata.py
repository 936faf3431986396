from __future__ import annotations

import pytest

from slipway.microservice.component import component_of
from slipway.microservice.metadata import MetadataError, check_metadata, metadata_to_proto, read_metadata

BARE = {"name": "n", "versions": ["1"], "platform": "", "inputs": [], "outputs": [], "custom": {}}


@pytest.mark.parametrize(
    "part",
    [
        {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, -1]}]},
        {"inputs": [{}]},
        {"inputs": [{"messagetype": "tensor", "schema": {"names": ["a"], "shape": [2]}}]},
        {"outputs": [{"messagetype": "ndarray"}, {"messagetype": "jsonData", "schema": {"type": "string"}}]},
        {"outputs": [{"messagetype": "strData"}, {"messagetype": "binData"}]},
        {"outputs": [{"messagetype": "my own", "schema": {"anything": [1]}}]},
        {"custom": {"key": "value"}},
    ],
)
def test_metadata_that_seldons_schema_takes(part):
    check_metadata({**BARE, **part})


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"name": 1}, "name"),
        ({"versions": "1"}, "versions"),
        ({"versions": [1]}, "versions"),
        ({"platform": None}, "platform"),
        ({"unknown": 1}, "unknown"),
        ({"custom": {"key": 1}}, "custom"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": ["x"]}, r"inputs\[0\]"),
        ({"inputs": [{"datatype": "FP128"}]}, "datatype"),
        ({"inputs": [{"shape": [1.5]}]}, "shape"),
        ({"inputs": [{"shape": [True]}]}, "shape"),
        ({"inputs": [{"name": "a", "extra": 1}]}, "extra"),
        ({"outputs": [{"messagetype": "strData", "schema": {}}]}, "schema"),
        ({"outputs": [{"messagetype": "tensor", "schema": {"names": [1]}}]}, "names"),
        ({"outputs": [{"messagetype": "tensor", "schema": {"type": 1}}]}, "type"),
        ({"outputs": [{"messagetype": "jsonData", "schema": []}]}, "schema"),
        ({"outputs": [{"messagetype": 1}]}, "messagetype"),
    ],
)
def test_metadata_that_it_refuses(part, field):
    with pytest.raises(MetadataError, match=field):
        check_metadata({**BARE, **part})


@pytest.mark.parametrize("own", [None, "text", []])
@pytest.mark.parametrize("override", ["", "[1]", "a: b: c", "text"])
def test_unreadable_metadata_counts_as_none(own, override):
    class Model:
        def init_metadata(self):
            return own

    assert read_metadata(component_of(Model()), image="img:1", override=override) == {**BARE, "name": "img"}


def test_grpc_form():
    message = metadata_to_proto({**BARE, "inputs": [{"messagetype": "tensor", "schema": {"shape": [2]}}]})
    assert (message.name, list(message.versions), message.inputs[0].messagetype) == ("n", ["1"], "tensor")
