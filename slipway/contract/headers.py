"""Header names of requests and replies; over gRPC the same names, lower case, are metadata keys."""

from __future__ import annotations

PUID = "seldon-puid"
PREDICTOR = "x-slipway-predictor"
ANSWERED_BY = "slipway-predictor"
"""Of a client's feedback: the predictor whose reply it is about, as that reply had it in PREDICTOR. The gateway leads it
there; its name begins otherwise than those that the gateway takes away from clients."""
MODEL = "x-slipway-model"
REASON = "x-slipway-reason"
ROUTING = "x-slipway-routing"
"""A JSON object, router → index of the child that it chose (-2: none): what a Feedback needs in ``meta.routing``."""
WIRE = "x-slipway-wire"
JSON_BYTES = "inference-header-content-length"
"""Of the V2 protocol: where a body's JSON ends and its binary tensors begin."""
HOOK = "x-slipway-hook"
"""What the executor wants of a V2 component, whose protocol knows `infer` only: `route`, `transform_output`, …"""
WAKES = "x-slipway-wakes"
"""From the gateway to the activator: ``namespace/deployment/service/port`` of a request for what is at rest."""
REPEATABLE = "x-slipway-repeatable"
"""Inside the gateway: a request whose route tries it again where an upstream resets it, of what may rest."""
SERVER_TIMING = "server-timing"

WIRE_PROTOBUF = "protobuf"
"""Value of WIRE: this component takes and gives SeldonMessages as protobuf over REST."""
