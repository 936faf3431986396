"""multipart/form-data bodies, already read and bounded, as their parts (RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import HTTP

from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_FORM_PARTS, MAX_PART_HEADER_BYTES

MAX_BOUNDARY_CHARS = 200


@dataclass(frozen=True)
class Part:
    """One field; ``filename`` None means that it is no file."""

    name: str
    filename: str | None
    content_type: str
    content: bytes


def split_parts(body: bytes, content_type: str) -> list[Part]:
    """The parts in order. ServingError 400 for a body that is no form, repeats a field or has too many."""
    parts: dict[str, Part] = {}
    for raw in _sections(body, _boundary(content_type)):
        part = _parse_part(raw)
        if part.name in parts:
            raise ServingError(f"multipart: field {part.name[:80]!r} is given twice")
        parts[part.name] = part
        if len(parts) > MAX_FORM_PARTS:
            raise ServingError(f"multipart: more than {MAX_FORM_PARTS} fields")
    return list(parts.values())


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary or len(boundary) > MAX_BOUNDARY_CHARS or not boundary.isascii():
        raise ServingError("multipart: the Content-Type names no usable boundary")
    return boundary.encode()


def _sections(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What stands between two boundary lines; a body that ends before the closing one is incomplete."""
    mark = b"\r\n--" + boundary
    text = b"\r\n" + body
    start = text.find(mark)
    while start >= 0:
        start += len(mark)
        if text.startswith(b"--", start):
            return
        line_end = text.find(b"\r\n", start)
        following = text.find(mark, start)
        if line_end < 0 or text[start:line_end].strip(b" \t") or following < 0:
            break
        yield text[line_end + 2 : following]
        start = following
    raise ServingError("multipart: the body ends before its closing boundary")


def _parse_part(raw: bytes) -> Part:
    head, found, content = raw.partition(b"\r\n\r\n")
    if raw.startswith(b"\r\n"):
        head, found, content = b"", b"\r\n", raw[2:]
    if not found or len(head) > MAX_PART_HEADER_BYTES:
        raise ServingError("multipart: a part's headers are missing or too long")
    try:
        headers = BytesHeaderParser(policy=HTTP).parsebytes(head)
        disposition = headers.get("Content-Disposition")
        name = disposition.params.get("name") if disposition is not None else None
        filename = disposition.params.get("filename") if disposition is not None else None
        content_type = headers.get_content_type() if isinstance(headers, EmailMessage) else "text/plain"
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        IndexError,
        RecursionError,
        MessageError,
    ) as exc:  # the email package on hostile headers
        raise ServingError("multipart: a part's headers make no sense") from exc
    if not name:
        raise ServingError("multipart: a part has no name")
    return Part(name, filename, content_type, content)
