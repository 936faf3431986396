"""One component class for each group of the behaviours 80 to 97: they run under 1.17.1 and under ours."""

import json
import os
import pathlib
import time

import numpy as np
import seldon_core
from flask import Blueprint, jsonify
from google.protobuf.any_pb2 import Any
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.metrics import create_counter, create_gauge, create_timer
from seldon_core.proto import prediction_pb2
from seldon_core.user_model import SeldonComponent, SeldonNotImplementedError, SeldonResponse


class Echo:
    """Its loads are counted in the file that a variable names; it holds a call until a file is there."""

    def load(self):
        if "LOADS" in os.environ:
            with pathlib.Path(os.environ["LOADS"]).open("a") as loads:
                loads.write("load ")

    def predict(self, X, names):
        if isinstance(X, str) and X.startswith("hold "):
            begun, release = map(pathlib.Path, X.split()[1:])
            begun.touch()
            while not release.exists():
                time.sleep(0.01)
        return X


class Results:
    """Returns what the text, or the name of the first column, asks for."""

    def predict(self, X, names):
        asked = names[0] if names else X
        if asked == "any":
            wrapped = Any()
            wrapped.Pack(prediction_pb2.Tensor(shape=[1]))
            return wrapped
        return {
            "numbers": np.array([[0.25, 0.75]]),
            "integers": np.array([[1, 2]]),
            "vector": np.array([0.25, 0.75]),
            "texts": np.array([["cat", "dog"]]),
            "list of texts": ["cat", "dog"],
            "truths": np.array([[True, False]]),
            "dict": {"label": "cat", "of": [1.5, None]},
            "bytes": b"\x00\xff",
            "text": "plain",
        }[asked]


class NamedByMethod(Results):
    def class_names(self):
        return ["cat", "dog"]


class NamedByAttribute(Results):
    class_names = ["cat", "dog"]  # noqa: RUF012  - as users write it


class NamedByArray(Results):
    class_names = np.array(["cat", "dog"])


class Tagged:
    def predict(self, X, names):
        return X

    def tags(self):
        return {"own": 1.5, "both": "own"}

    def metrics(self):
        return [create_counter("calls", 1)]


class WithMeta:
    """Every hook answers with what it got as meta."""

    def predict(self, X, names, meta=None):
        return {"got": meta}

    def transform_input(self, X, names, meta=None):
        return {"got": meta}

    def transform_output(self, X, names, meta=None):
        return {"got": meta}

    def route(self, X, names, meta=None):
        return int(meta["tags"]["branch"])


class WithoutMeta:
    """Counts its calls: none is made twice."""

    def __init__(self):
        self.calls = 0

    def predict(self, X, names):
        return X

    def transform_input(self, X, names):
        return X

    def transform_output(self, X, names):
        return X

    def route(self, X, names):
        return 3


class Failing:
    """Errors of every kind. ``calls`` answers how often it was called before."""

    def __init__(self):
        self.calls = 0

    def predict(self, X, names, meta=None):
        if isinstance(X, str) and X == "calls":
            return {"calls": self.calls}
        self.calls += 1
        if isinstance(X, str) and X == "forbidden":
            raise SeldonMicroserviceException("not for you", status_code=403, reason="NOT_FOR_YOU")
        if isinstance(X, str) and X == "type":
            raise TypeError("inside the model")
        if isinstance(X, str) and X == "exit":
            raise SystemExit(1)
        if isinstance(X, str) and X == "value":
            raise ValueError("inside the model")
        return X


class OwnError(Exception):
    pass


class Handled:
    model_error_handler = Blueprint("error_handlers", __name__)

    @model_error_handler.app_errorhandler(OwnError)
    def answer(self):
        response = jsonify({"own": str(self)})
        response.status_code = 402
        return response

    def predict(self, X, names):
        raise OwnError("pay first")


class BadMetrics:
    def predict(self, X, names):
        return X

    def metrics(self):
        return [{"type": "NO_SUCH_TYPE", "key": "k", "value": 1}]


class Raw:
    """Every raw hook: told a dict it answers a dict, told protobuf it answers protobuf."""

    def predict_raw(self, msg):
        return _raw("predict", msg)

    def transform_input_raw(self, msg):
        return _raw("transform_input", msg)

    def transform_output_raw(self, msg):
        return _raw("transform_output", msg)

    def route_raw(self, msg):
        return _raw("route", msg)

    def aggregate_raw(self, msg):
        return _raw("aggregate", msg)

    def send_feedback_raw(self, feedback):
        return prediction_pb2.SeldonMessage(strData="send_feedback " + type(feedback).__name__)


def _raw(hook, msg):
    text = f"{hook} {type(msg).__name__}"
    return prediction_pb2.SeldonMessage(strData=text) if hasattr(msg, "DESCRIPTOR") else {"strData": text}


class ByTransport:
    """The deprecated pair, which is asked before the raw hook."""

    def predict_rest(self, msg):
        return {"strData": "rest"}

    def predict_grpc(self, msg):
        return prediction_pb2.SeldonMessage(strData="grpc")

    def predict_raw(self, msg):
        raise AssertionError("the deprecated hook is asked first")


class FallsBack:
    """Raw hooks that are not implemented leave the call to the others."""

    def predict_raw(self, msg):
        raise SeldonNotImplementedError("predict_raw")

    def transform_input_raw(self, msg):
        raise SeldonNotImplementedError("transform_input_raw")

    def transform_output_raw(self, msg):
        raise SeldonNotImplementedError("transform_output_raw")

    def route_raw(self, msg):
        raise SeldonNotImplementedError("route_raw")

    def aggregate_raw(self, msg):
        raise SeldonNotImplementedError("aggregate_raw")

    def predict(self, X, names):
        return "predict"

    def transform_input(self, X, names):
        return "transform_input"

    def transform_output(self, X, names):
        return "transform_output"

    def route(self, X, names):
        return 22

    def aggregate(self, features_list, names_list):
        return "aggregate"


class SubclassFallsBack(FallsBack, SeldonComponent):
    pass


class Router:
    def route(self, X, names):
        return {"int": 22, "numpy": np.int64(22), "text": "22"}[X if isinstance(X, str) else "int"]


class NoHooks:
    pass


class NoHooksComponent(SeldonComponent):
    pass


class Combiner:
    """The mean of arrays, texts and bytes one after the other."""

    def aggregate(self, features_list, names_list):
        if isinstance(features_list[0], np.ndarray):
            return np.mean(features_list, axis=0)
        return features_list[0] + features_list[1]


class HealthText:
    def health_status(self):
        return [[1.0]]

    def class_names(self):
        return ["up"]


class HealthRaw:
    def health_status_raw(self):
        return {"strData": "raw health"}


class Described:
    def __init__(self, metadata="{}"):
        self.own = json.loads(metadata)

    def predict(self, X, names):
        return X

    def init_metadata(self):
        return self.own


class Measured:
    """Metrics of the kind that the text asks for."""

    def predict(self, X, names):
        kind, _, value = X.partition(" ")
        make = {"counter": create_counter, "gauge": create_gauge, "timer": create_timer}[kind.partition(":")[0]]
        metric = make("a bad name" if kind == "counter:bad" else kind.partition(":")[0] + "_seen", float(value))
        if kind.endswith(":tagged"):
            metric["tags"] = {"colour": "red"}
        return SeldonResponse(X, metrics=[metric])


class Responses:
    """A SeldonResponse of every hook."""

    def predict(self, X, names):
        return _response("predict", X)

    def transform_input(self, X, names):
        return _response("transform_input", X)

    def transform_output(self, X, names):
        return _response("transform_output", X)

    def route(self, X, names):
        return _response("route", 1)

    def aggregate(self, features_list, names_list):
        return _response("aggregate", features_list[0])

    def send_feedback(self, X, names, reward, truth, routing=None):
        return _response("send_feedback", X)

    def tags(self):
        return {"by": "method", "own": True}


def _response(hook, data):
    return SeldonResponse(data, tags={"by": hook}, metrics=[create_gauge("of_" + hook, 2)])


class Parameters:
    def __init__(self, **parameters):
        self.parameters = parameters

    def predict(self, X, names):
        return self.parameters


class Stored:
    """Asks Seldon's storage for the path that the text names."""

    def predict(self, X, names):
        return seldon_core.Storage.download(X)


class Paid:
    def predict_raw(self, msg):
        return {"status": {"code": 402}}

    def transform_input_raw(self, msg):
        return {"status": {"code": 402}}


class Refused:
    def predict(self, X, names):
        return (1, 2)


class Deprecated:
    """The deprecated pairs of the other hooks: ``_rest`` is asked first over both wires."""

    def transform_input_rest(self, msg):
        return _raw("transform_input_rest", msg)

    def transform_output_grpc(self, msg):
        return _raw("transform_output_grpc", msg)

    def route_rest(self, msg):
        return _raw("route_rest", msg)

    def aggregate_rest(self, msg):
        return _raw("aggregate_rest", msg)

    def send_feedback_rest(self, msg):
        return {"strData": "send_feedback_rest " + type(msg).__name__}


class Bytes:
    """Under PAYLOAD_PASSTHROUGH it gets a body as it came."""

    def predict_raw(self, msg):
        return msg[::-1]
