from __future__ import annotations

from email.message import Message
from urllib.error import HTTPError

import grpc
import pytest

from slipway.microservice.seldon_names import SeldonMicroserviceException
from slipway.serving.errors import (
    MAX_DETAILS_BYTES,
    MAX_INFO_CHARS,
    Failure,
    ServingError,
    failure_of,
    grpc_details,
    grpc_status,
    one_line,
)


class _Coded(Exception):
    def __init__(self, status_code, reason):
        super().__init__("text")
        self.status_code, self.reason = status_code, reason


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ServingError("a"), Failure(400, "MICROSERVICE_BAD_DATA", "a")),
        (ValueError("b"), Failure(500, "MICROSERVICE_INTERNAL_ERROR", "b")),
        (ValueError(), Failure(500, "MICROSERVICE_INTERNAL_ERROR", "ValueError")),
        (_Coded(415, "UNSUPPORTED"), Failure(415, "UNSUPPORTED", "text")),
        (_Coded(200, None), Failure(500, "MICROSERVICE_INTERNAL_ERROR", "text")),
        (_Coded(True, ""), Failure(500, "MICROSERVICE_INTERNAL_ERROR", "text")),
        (_Coded(404, None), Failure(404, "MICROSERVICE_BAD_DATA", "text")),
        (_Coded(400, "A\r\nB: é"), Failure(400, "MICROSERVICE_BAD_DATA", "text")),
        (_Coded(404, "Not Found"), Failure(404, "MICROSERVICE_BAD_DATA", "text")),
        (_Coded(None, "UNSUPPORTED"), Failure(500, "MICROSERVICE_INTERNAL_ERROR", "text")),
        (_Coded(404, OSError()), Failure(404, "MICROSERVICE_BAD_DATA", "text")),
        (ServingError("a", reason="own\r\nwords"), Failure(400, "own__words", "a")),
        (SeldonMicroserviceException("a", 418, reason="i-am"), Failure(418, "i-am", "a")),
        (
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
            Failure(
                500,
                "MICROSERVICE_INTERNAL_ERROR",
                "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
            ),
        ),
        (
            HTTPError("http://s3/x", 404, "Not Found", Message(), None),
            Failure(500, "MICROSERVICE_INTERNAL_ERROR", "HTTP Error 404: Not Found"),
        ),
    ],
)
def test_failure_of_reads_status_and_reason(error, failure):
    assert failure_of(error) == failure


def test_an_endless_text_is_cut():
    assert len(failure_of(ValueError("x" * 10**6)).info) == MAX_INFO_CHARS


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND"), (413, "RESOURCE_EXHAUSTED"), (429, "RESOURCE_EXHAUSTED"),
     (500, "INTERNAL"), (502, "INTERNAL"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")],
)  # fmt: skip
def test_grpc_status_follows_the_http_status(status, code):
    assert grpc_status(status) is grpc.StatusCode[code]


@pytest.mark.parametrize(
    ("letter", "bytes_each"), [("x", 1), ("%", 3), ("\n", 3), ("é", 6), ("€", 9), ("\N{FIRE}", 12)]
)
def test_grpc_details_are_cut_to_what_a_header_carries(letter, bytes_each):
    whole = MAX_DETAILS_BYTES // bytes_each
    assert grpc_details(letter * whole) == letter * whole
    assert grpc_details(letter * 10_000) == letter * whole


def test_grpc_details_have_no_lone_surrogates():
    assert grpc_details("a\udcff") == "a?"


def test_one_line_shows_what_would_begin_another():
    assert one_line("no node 'a\r\nready\u2028\x1b[2J' größe") == r"no node 'a\r\nready\u2028\x1b[2J' größe"
