"""What no HTTP client sends, for the gateway's port."""

from __future__ import annotations

import random

POST = b"POST /seldon/default/yolo/api/v1.0/predictions HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def raw_requests(photo: bytes, *, seed: int) -> dict[str, bytes]:
    """All of them, by name. ``photo``: a valid JPEG."""
    chance = random.Random(seed)
    found = {
        "nothing": b"",
        "noise": chance.randbytes(4000),
        "line feeds": b"\r\n" * 5000,
        "zeros": bytes(5000),
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(200),
        "SSH": b"SSH-2.0-OpenSSH_9.0\r\n",
        "SMTP": b"EHLO a\r\nMAIL FROM:<a>\r\n",
        "photo": photo,
        "HTTP/0.9": b"GET /\r\n\r\n",
        "HTTP/9.9": b"GET / HTTP/9.9\r\n\r\n",
        "no host": b"GET / HTTP/1.1\r\n\r\n",
        "two hosts": b"GET /seldon HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "long line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        "long header": POST + b"A: " + b"a" * 200_000 + b"\r\n\r\n",
        "many headers": POST + b"".join(b"A%d: b\r\n" % n for n in range(5000)) + b"\r\n",
        "bad header": POST + b"a b: c\r\n\r\n",
        "null in a header": POST + b"a: b\0c\r\n\r\n",
        "folded header": POST + b"a: b\r\n c\r\n\r\n",
        "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "negative length": POST + b"Content-Length: -1\r\n\r\n",
        "word for a length": POST + b"Content-Length: many\r\n\r\n",
        "endless length": POST + b"Content-Length: " + b"9" * 60 + b"\r\n\r\n",
        "length of a terabyte": POST + b"Content-Length: 1099511627776\r\n\r\nabc",
        "bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nabc\r\n",
        "chunk extension": POST + b"Transfer-Encoding: chunked\r\n\r\n3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n",
        "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + photo[:500],
        "half a body": POST + b"Content-Length: %d\r\n\r\n" % len(photo) + photo[: len(photo) // 2],
        "identity": POST + b"Transfer-Encoding: identity, chunked\r\n\r\n",
        "smuggled": POST + b"Content-Length: 6\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nG",
        "upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
        "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
        "absolute address": b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "dots": b"GET /../../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/2 and nothing": HTTP2,
        "HTTP/2 and noise": HTTP2 + chance.randbytes(500),
        "HTTP/2 huge frame": HTTP2 + b"\xff\xff\xff\0\0\0\0\0\1" + bytes(1000),
        "HTTP/2 settings flood": HTTP2 + b"\0\0\0\4\0\0\0\0\0" * 20_000,
        "HTTP/2 ping flood": HTTP2 + b"\0\0\0\4\0\0\0\0\0" + (b"\0\0\x08\6\0\0\0\0\0" + bytes(8)) * 20_000,
        "HTTP/2 reset flood": HTTP2 + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\3\0\0\0\0\1\0\0\0\0" * 5000,
        "HTTP/2 bad headers": HTTP2 + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\5\1\5\0\0\0\1\xff\xff\xff\xff\xff",
        "HTTP/2 endless headers": HTTP2
        + b"\0\0\0\4\0\0\0\0\0"
        + b"\0\x40\0\1\0\0\0\0\1"
        + bytes(16_384)
        + (b"\0\x40\0\x09\0\0\0\0\1" + bytes(16_384)) * 20,
    }
    for number in range(30):
        damaged = bytearray(POST + b"Content-Length: %d\r\n\r\n" % len(photo))
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        found[f"damaged request {number}"] = bytes(damaged) + photo
    return found
