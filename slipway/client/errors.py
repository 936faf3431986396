"""What can go wrong between a caller and a SeldonDeployment.

ClientError
├── InvalidAddress      the URL is none that a SeldonDeployment can be asked at
├── InvalidTls          a PEM file of ``Tls`` cannot be read, or is none
├── InvalidPhoto        no such file, too large, or an array that is no picture
├── InvalidMessage      what should be sent has no form as a SeldonMessage
├── Unreachable         no connection, or it broke
├── DeadlineExceeded    no answer within ``timeout_s``
├── UnexpectedReply     an answer, but not one that this call can read
└── AnswerError         the deployment answered with an error: ``code``, ``reason``, ``info``
    ├── Refused         the request is at fault (4xx)
    └── Failed          the deployment is at fault (5xx)
"""

from __future__ import annotations

from slipway.contract.following import printable


class ClientError(Exception):
    """Base of all; ``retry_after_s`` is None where sending the same once more could do harm or cannot help."""

    retry_after_s: float | None = None


class InvalidAddress(ClientError, ValueError):
    """The URL does not say where a SeldonDeployment is."""


class InvalidTls(ClientError, ValueError):
    """The files that were given for TLS cannot be used."""


class InvalidPhoto(ClientError, ValueError):
    """What was given as a photo is none that could be sent."""


class InvalidMessage(ClientError, ValueError):
    """What was given as a message or a feedback is none."""


class Unreachable(ClientError):
    """No answer. With ``was_sent`` False nothing left this machine, so sending again is safe."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.retry_after_s = None if was_sent else 0.0


class DeadlineExceeded(ClientError):
    """The time for the whole call, retries included, is over."""


class UnexpectedReply(ClientError):
    """The answer is no SeldonMessage, or holds no detections where they were asked for."""


class AnswerError(ClientError):
    """An error that the deployment, or the gateway before it, answered.

    ``code`` is the HTTP status (over gRPC the one that means the same), ``reason`` the machine code of
    ``x-slipway-reason`` or of the body ("" where neither has one), ``info`` the sentence as it came (the text of the error
    itself holds nothing that drives a terminal), ``request_id`` the
    ``Seldon-Puid`` under which logs know the request, ``grpc_code`` the gRPC status' name.
    """

    def __init__(  # one keyword for each thing that a caller may look at
        self,
        code: int,
        *,
        reason: str,
        info: str,
        request_id: str = "",
        grpc_code: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        said = f"HTTP {code}" if not grpc_code else f"gRPC {grpc_code}"
        super().__init__(": ".join(printable(part) for part in (said, reason, info) if part))
        self.code = code
        self.reason = reason
        self.info = info
        self.request_id = request_id
        self.grpc_code = grpc_code
        self.retry_after_s = retry_after_s


class Refused(AnswerError):
    """4xx: another photo or another request may pass."""


class Failed(AnswerError):
    """5xx: the same request may pass later."""
