"""What raw hooks use of ``seldon_core.utils``, with the values that 1.17.1 gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice import seldon_utils as utils
from slipway.serving.errors import ServingError

DATA = {"names": ["a"], "tensor": {"shape": [1, 1], "values": [2.0]}}
MESSAGE: dict[str, Any] = {"meta": {"puid": "p", "tags": {"a": 1.0}}, "data": DATA}


def test_messages_go_from_one_form_into_the_other_and_back():
    proto = utils.json_to_seldon_message(MESSAGE)
    assert utils.seldon_message_to_json(proto) == MESSAGE
    several = utils.json_to_seldon_messages({"seldonMessages": [MESSAGE, {"strData": "x"}]})
    assert utils.seldon_messages_to_json(several) == {"seldonMessages": [MESSAGE, {"strData": "x"}]}
    feedback = utils.json_to_feedback({"request": MESSAGE, "truth": {"data": {"ndarray": [1]}}, "reward": 0.5})
    assert utils.UTILS["feedback_to_json"](feedback)["reward"] == 0.5
    data, features, truth, reward = utils.extract_feedback_request_parts(feedback)
    assert (list(data.names), features.tolist(), truth.tolist(), reward) == (["a"], [[2.0]], [1.0], 0.5)
    with pytest.raises(ServingError, match="not a SeldonMessage|unknown fields"):
        utils.json_to_seldon_message({"nothing": 1})


def test_parts_of_a_message_are_those_of_a_hook():
    proto = utils.json_to_seldon_message(MESSAGE)
    features, meta, data, kind = utils.extract_request_parts(proto)
    assert (features.tolist(), meta, kind) == ([[2.0]], MESSAGE["meta"], "data")
    assert data == proto.data
    assert utils.grpc_datadef_to_array(data).tolist() == [[2.0]]
    features, meta, given, kind = utils.extract_request_parts_json(MESSAGE)
    assert (features.tolist(), meta, given, kind) == ([[2.0]], MESSAGE["meta"], DATA, "data")
    assert utils.extract_request_parts_json({"strData": "x"}) == ("x", None, None, "strData")
    assert utils.extract_request_parts_json({"jsonData": [1]}) == ([1], None, None, "jsonData")
    assert utils.get_data_from_proto(pb.SeldonMessage(binData=b"ab")) == b"ab"


@pytest.mark.parametrize(("asked", "kind"), [("tensor", "tensor"), ("tftensor", "tftensor"), ("other", "ndarray")])
def test_arrays_become_data_of_the_kind_that_is_asked_for(asked: str, kind: str):
    data = utils.array_to_grpc_datadef(asked, np.array([[1, 2.5]]), ["a", "b"])
    assert (data.WhichOneof("data_oneof"), list(data.names)) == (kind, ["a", "b"])
    assert utils.grpc_datadef_to_array(data).tolist() == [[1.0, 2.5]]
    assert utils.array_to_rest_datadef(asked, [1.0])[kind]


USES = """
from seldon_core.utils import json_to_seldon_message, seldon_message_to_json
import seldon_core.utils
class Mod:
    def predict_raw(self, msg):
        proto = json_to_seldon_message(msg)
        proto.strData += "!"
        return seldon_message_to_json(proto) if seldon_core.utils else None
"""


def test_class_imports_them_by_seldon_s_name(start_process):
    process = start_process(USES)
    process.ready()
    assert "serving Mod" in process.text()


@pytest.mark.parametrize(
    "source",
    [
        "from seldon_core.seldon_client import SeldonClient\n",
        "class Mod:\n    def __init__(self):\n        from seldon_core.utils import construct_response\n",
    ],
)
def test_what_is_not_offered_is_said_with_what_is(start_process, source: str):
    process = start_process(source)
    assert process.wait() == 1
    assert "of seldon_core only a part is here (seldon_core.flask_utils, " in process.text()
    assert "add seldon-core==1.17.1 to the requirements for more" in process.text()
