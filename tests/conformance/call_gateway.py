"""Runs in the official environment: SeldonClient 1.17.1 sends a photo in one form and prints the reply as JSON.

python call_gateway.py GATEWAY TRANSPORT FORM PHOTO
"""

import base64
import json
import sys
from pathlib import Path

from seldon_core.seldon_client import SeldonClient

MAX_BYTES = 12 * 1024 * 1024


def main():
    endpoint, transport, form, path = sys.argv[1:]
    photo = Path(path).read_bytes()
    text = base64.b64encode(photo).decode()
    forms = {"bin_data": photo, "str_data": text, "json_data": {"image": text}}
    client = SeldonClient(
        gateway="istio",
        gateway_endpoint=endpoint,
        transport=transport,
        namespace="default",
        deployment_name="yolo",
        grpc_max_send_message_length=MAX_BYTES,
        grpc_max_receive_message_length=MAX_BYTES,
    )
    reply = client.predict(**{form: forms[form]})
    print(json.dumps({"success": reply.success, "msg": reply.msg, "response": reply.response}))


main()
