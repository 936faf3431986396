"""The cheapest gRPC client there is: HTTP/2 frames by hand, a blocking socket, unary calls one after the other.

What it measures is the server. gRPC's own client takes a seventh of a millisecond of the processor for each call, more than
half of what a small call of a fast server takes: it would add the same to every server, and so hide how they differ.

Frames and settings are those of RFC 9113, the headers' encoding that of RFC 7541 (literals only, no Huffman), the message's
prefix that of gRPC over HTTP/2.
"""

from __future__ import annotations

import socket
import struct

from benchmarks.processes import HOST, START_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 4, 5
FIRST_WINDOW, WIDEST_WINDOW = 65_535, 2**31 - 1
FIRST_FRAME, LARGE_FRAME = 16_384, 2**20
READ_BYTES = 2**18


class GrpcError(Exception):
    """An answer without a message."""


class GrpcConnection:
    """One connection to a server; ``call`` gives the bytes of the answer's message."""

    def __init__(self, port: int) -> None:
        self._authority = f"{HOST}:{port}".encode()
        self._socket = socket.create_connection((HOST, port), timeout=START_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = self._owed = b""
        self._stream = -1
        self._frame_bytes = FIRST_FRAME
        self._stream_window = self._window = FIRST_WINDOW
        self._left = 0
        """Of the present stream's window."""
        wanted = {HEADER_TABLE_SIZE: 0, INITIAL_WINDOW_SIZE: WIDEST_WINDOW, MAX_FRAME_SIZE: LARGE_FRAME}
        settings = b"".join(struct.pack(">HL", *one) for one in wanted.items())
        more = struct.pack(">L", WIDEST_WINDOW - FIRST_WINDOW)
        self._socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, more))
        while self._take()[0] != SETTINGS:  # the server's own: how much it takes at once
            pass

    def call(self, path: str, message: bytes) -> bytes:
        """The message of the answer to one unary call. GrpcError where the server answers with a status alone."""
        self._stream += 2
        self._left = self._stream_window
        request = self._owed + _frame(HEADERS, END_HEADERS, self._stream, self._headers(path))
        self._send(request, struct.pack(">BL", 0, len(message)) + message)
        answer = b""
        while True:
            kind, flags, stream, payload = self._take()
            if kind == DATA and stream == self._stream:
                answer += payload
            if kind == HEADERS and flags & END_STREAM:
                break
        if not answer:
            raise GrpcError(f"{path}: no message, only {payload!r}")
        self._owed = _frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", len(answer)))
        return answer[5:]

    def _headers(self, path: str) -> bytes:
        """Indexes of HPACK's static table: 3 and 6 whole, 4 (path), 1 (authority) and 31 (content-type) by name."""
        named = ((b"\x04", path.encode()), (b"\x01", self._authority), (b"\x0f\x10", b"application/grpc"))
        literals = b"".join(index + bytes((len(value),)) + value for index, value in named)
        return b"\x83\x86" + literals + b"\x00\x02te\x08trailers"

    def _send(self, head: bytes, body: bytes) -> None:
        """As much at once as the server's windows take; then its window updates are waited for."""
        at = 0
        while at < len(body):
            size = min(len(body) - at, self._frame_bytes, self._window, self._left)
            if size <= 0:
                self._socket.sendall(head)
                head = b""
                self._take()
                continue
            flags = END_STREAM if at + size == len(body) else 0
            head += _frame(DATA, flags, self._stream, body[at : at + size])
            at += size
            self._window -= size
            self._left -= size
        self._socket.sendall(head)

    def _take(self) -> tuple[int, int, int, bytes]:
        """The next frame: kind, flags, stream, payload; what the connection itself needs is done."""
        high, low, kind, flags, stream = struct.unpack(">HBBBL", self._read(9))
        payload = self._read(high << 8 | low)
        if kind == SETTINGS and not flags & ACK:
            self._settle(dict(struct.iter_unpack(">HL", payload)))
            self._socket.sendall(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._socket.sendall(_frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">L", payload)
            self._window += more if stream == 0 else 0
            self._left += more if stream == self._stream else 0
        elif kind in (RST_STREAM, GOAWAY):
            raise GrpcError(f"the server ended the {'call' if kind == RST_STREAM else 'connection'}: {payload!r}")
        return kind, flags, stream, payload

    def _settle(self, given: dict[int, int]) -> None:
        window = given.get(INITIAL_WINDOW_SIZE, self._stream_window)
        self._left += window - self._stream_window
        self._stream_window = window
        self._frame_bytes = given.get(MAX_FRAME_SIZE, self._frame_bytes)

    def _read(self, size: int) -> bytes:
        if len(self._received) >= size:
            found, self._received = self._received[:size], self._received[size:]
            return found
        parts, length = [self._received], len(self._received)
        while length < size:
            part = self._socket.recv(max(READ_BYTES, size - length))
            if not part:
                raise ConnectionResetError("the server closed the connection in the middle of an answer")
            parts.append(part)
            length += len(part)
        whole = b"".join(parts)
        self._received = whole[size:]
        return whole[:size]

    def close(self) -> None:
        self._socket.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return struct.pack(">HBBBL", size >> 8, size & 0xFF, kind, flags, stream) + payload
