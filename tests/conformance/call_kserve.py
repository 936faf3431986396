"""Runs in the environment of the V2 clients: KServe's own clients over REST and gRPC; prints what they got as JSON.

python call_kserve.py BASE_URL GRPC_TARGET MODEL [HEADER=VALUE …]
"""

import asyncio
import json
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

TENSORS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], dtype="u1"),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype="i4"),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype="i8"),
    "FP16": np.array([[0.5, -65504]], dtype="f2"),
    "FP32": np.array([[0.1, -3.4e38]], dtype="f4"),
    "FP64": np.array([[0.1, 1e300]], dtype="f8"),
}


def request(model, datatype, array, *, binary):
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [tensor], request_id="7", parameters={"k": "v"})


def same(answer, sent):
    found = answer.outputs[0].as_numpy()
    return answer.id == "7" and found.dtype == sent.dtype and found.tolist() == sent.tolist()


async def over_rest(base, model, headers):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    told = {
        "live": await client.is_server_live(base, headers=headers),
        "ready": await client.is_server_ready(base, headers=headers),
        "model_ready": await client.is_model_ready(base, model, headers=headers),
    }
    for datatype, array in TENSORS.items():
        for binary in (True, False):
            if not binary and datatype == "FP16":
                continue  # the client has no JSON form of it
            asked = request(model, datatype, array, binary=binary)
            answer = await client.infer(base, asked, model_name=model, headers=dict(headers))
            told[f"{datatype} {'binary' if binary else 'json'}"] = same(answer, array)
    try:
        asked = request("nobody", "FP32", TENSORS["FP32"], binary=False)
        await client.infer(base, asked, model_name="nobody", headers=dict(headers))
    except httpx.HTTPStatusError as error:
        told["refusal"] = str(error)
    return told


async def over_grpc(target, model, headers):
    client = InferenceGRPCClient(target)
    metadata = tuple(headers.items())
    told = {
        "live": await client.is_server_live(headers=metadata),
        "ready": await client.is_server_ready(headers=metadata),
        "model_ready": await client.is_model_ready(model, headers=metadata),
    }
    for datatype, array in TENSORS.items():
        for binary in (True, False):
            if not binary and datatype == "FP16":
                continue
            answer = await client.infer(request(model, datatype, array, binary=binary), headers=metadata)
            told[f"{datatype} {'raw' if binary else 'typed'}"] = same(answer, array)
    try:
        await client.infer(request("nobody", "FP32", TENSORS["FP32"], binary=True), headers=metadata)
    except grpc.RpcError as error:
        told["refusal"] = error.details()
    return told


async def main():
    base, target, model, *pairs = sys.argv[1:]
    headers = dict(pair.split("=", 1) for pair in pairs)
    told = {"rest": await over_rest(base, model, headers), "grpc": await over_grpc(target, model, headers)}
    print(json.dumps(told))


asyncio.run(main())
