"""Runs in the environment of the V2 clients: tritonclient over HTTP and gRPC; prints what it got as JSON.

python call_triton.py HTTP_TARGET GRPC_TARGET MODEL [HEADER=VALUE …]
"""

import json
import sys

import numpy as np
import tritonclient.grpc as rpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

TENSORS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], dtype="u1"),
    "UINT16": np.array([[0, 65535]], dtype="u2"),
    "UINT32": np.array([[0, 2**32 - 1]], dtype="u4"),
    "UINT64": np.array([[0, 2**64 - 1]], dtype="u8"),
    "INT8": np.array([[-128, 127]], dtype="i1"),
    "INT16": np.array([[-(2**15), 2**15 - 1]], dtype="i2"),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype="i4"),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype="i8"),
    "FP16": np.array([[0.5, -65504]], dtype="f2"),
    "FP32": np.array([[0.1, -3.4e38]], dtype="f4"),
    "FP64": np.array([[0.1, 1e300]], dtype="f8"),
    "BYTES": np.array([[b"\xff\x00", b""]], dtype=object),
}
TEXTS = np.array([["a", "é"]], dtype=object)


def same(found, sent):
    return found is not None and found.dtype == sent.dtype and found.tolist() == sent.tolist()


def over_http(target, model, headers):
    client = http.InferenceServerClient(target)
    told = {
        "live": client.is_server_live(headers),
        "ready": client.is_server_ready(headers),
        "model_ready": client.is_model_ready(model, headers=headers),
        "server": client.get_server_metadata(headers)["name"],
        "model": client.get_model_metadata(model, headers=headers)["name"],
    }
    for datatype, array in TENSORS.items():
        for binary in (True, False):
            if not binary and datatype == "FP16":
                continue  # the client has no JSON form of it
            sent = TEXTS if datatype == "BYTES" and not binary else array
            tensor = http.InferInput("x", sent.shape, datatype)
            tensor.set_data_from_numpy(sent, binary_data=binary)
            outputs = [http.InferRequestedOutput("output-0", binary_data=binary)]
            answer = client.infer(
                model, [tensor], outputs=outputs, request_id="7", headers=dict(headers)
            )  # it adds to them
            found = answer.as_numpy("output-0")
            if datatype == "BYTES":
                found = np.array([one if isinstance(one, bytes) else one.encode() for one in found.flat], dtype=object)
                sent = np.array([one if isinstance(one, bytes) else one.encode() for one in sent.flat], dtype=object)
            told[f"{datatype} {'binary' if binary else 'json'}"] = (
                same(found, sent) and answer.get_response()["id"] == "7"
            )
    return told, client


def over_grpc(target, model, headers):
    client = rpc.InferenceServerClient(target)
    told = {
        "live": client.is_server_live(headers),
        "ready": client.is_server_ready(headers),
        "model_ready": client.is_model_ready(model, headers=headers),
        "server": client.get_server_metadata(headers).name,
        "model": client.get_model_metadata(model, headers=headers).name,
    }
    for datatype, array in TENSORS.items():
        tensor = rpc.InferInput("x", array.shape, datatype)
        tensor.set_data_from_numpy(array)
        answer = client.infer(model, [tensor], request_id="7", parameters={"k": "v"}, headers=headers)
        told[datatype] = (
            same(answer.as_numpy("output-0"), array)
            and answer.get_response().id == "7"
            and answer.get_response().parameters["k"].string_param == "v"
        )
    return told, client


def refusal(client, module, headers):
    """A tensor whose model is not there."""
    tensor = module.InferInput("x", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros(1, dtype="f4"))
    try:
        client.infer("nobody", [tensor], headers=headers)
    except InferenceServerException as error:
        return str(error)
    return ""


def main():
    http_target, grpc_target, model, *pairs = sys.argv[1:]
    headers = dict(pair.split("=", 1) for pair in pairs)
    told = {}
    for name, ask, target, module in (("http", over_http, http_target, http), ("grpc", over_grpc, grpc_target, rpc)):
        told[name], client = ask(target, model, dict(headers))
        told[name]["refusal"] = refusal(client, module, dict(headers))
    print(json.dumps(told))


main()
