"""Header names of requests and replies; over gRPC the same names, lower case, are metadata keys."""

from __future__ import annotations

PUID = "seldon-puid"
PREDICTOR = "x-slipway-predictor"
MODEL = "x-slipway-model"
REASON = "x-slipway-reason"
ROUTING = "x-slipway-routing"
"""A JSON object, router → index of the child that it chose (-2: none): what a Feedback needs in ``meta.routing``."""
WIRE = "x-slipway-wire"
SERVER_TIMING = "server-timing"

WIRE_PROTOBUF = "protobuf"
"""Value of WIRE: this component takes and gives SeldonMessages as protobuf over REST."""
