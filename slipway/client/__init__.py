"""A typed client of any SeldonDeployment: photos in, detections out, over REST or gRPC, blocking or not."""

from slipway.client.client import AsyncClient, Client
from slipway.client.detections import Box, Detection, Detections, Size
from slipway.client.errors import (
    AnswerError,
    ClientError,
    DeadlineExceeded,
    Failed,
    InvalidAddress,
    InvalidMessage,
    InvalidPhoto,
    InvalidTls,
    Refused,
    UnexpectedReply,
    Unreachable,
)
from slipway.client.reply import ModelVersion, Reply
from slipway.client.settings import Tls

__all__ = [
    "AnswerError",
    "AsyncClient",
    "Box",
    "Client",
    "ClientError",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "Failed",
    "InvalidAddress",
    "InvalidMessage",
    "InvalidPhoto",
    "InvalidTls",
    "ModelVersion",
    "Refused",
    "Reply",
    "Size",
    "Tls",
    "UnexpectedReply",
    "Unreachable",
]
