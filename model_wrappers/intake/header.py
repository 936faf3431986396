"""Format and size of an encoded photo from its first bytes, before anything is decoded.

Layouts: JPEG ITU T.81 (markers), PNG ISO 15948 (IHDR), WebP RFC 9649 (RIFF chunks), BMP (Windows DIB headers),
GIF89a (logical screen), TIFF 6.0 (first directory).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from model_wrappers.intake.errors import IMAGE_TOO_LARGE, IMAGE_UNDECODABLE, UNSUPPORTED_MEDIA_TYPE, PhotoError

MAX_PHOTO_BYTES = 8 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_JPEG_MARKERS = 4096
MAX_TIFF_ENTRIES = 4096
FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"

_FILL = re.compile(rb"\xff+")
_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True)
class Header:
    """``format`` is a lower-case name; lengths are pixels as stored, before any EXIF rotation."""

    format: str
    width: int
    height: int


def read_header(photo: bytes, *, max_photo_bytes: int = MAX_PHOTO_BYTES, max_pixels: int = MAX_PIXELS) -> Header:
    """What the photo claims to be. PhotoError when it is nothing we read, cut short, or too large."""
    if len(photo) > max_photo_bytes:
        raise PhotoError(IMAGE_TOO_LARGE, f"The photo has {len(photo):,} bytes; at most {max_photo_bytes:,} are read.")
    for magic, read in _READERS:
        if photo.startswith(magic):
            try:
                header = read(photo)
            except struct.error as exc:
                raise cut_short(photo) from exc
            return _checked(header, max_pixels)
    raise PhotoError(UNSUPPORTED_MEDIA_TYPE, f"The {len(photo):,} bytes are no {FORMATS} file.")


def cut_short(photo: bytes) -> PhotoError:
    return PhotoError(IMAGE_UNDECODABLE, f"The photo is cut short or damaged: it ends after {len(photo):,} bytes.")


def _checked(header: Header, max_pixels: int) -> Header:
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise PhotoError(IMAGE_UNDECODABLE, f"The {header.format.upper()} header says {width} x {height} pixels.")
    if width * height > max_pixels:
        sentence = f"The photo has {width} x {height} pixels; at most {max_pixels // 1_000_000} megapixels are read."
        raise PhotoError(IMAGE_TOO_LARGE, sentence)
    return header


def _jpeg(photo: bytes) -> Header:
    position = 2
    for _ in range(MAX_JPEG_MARKERS):
        position = _last_fill_byte(photo, position)
        prefix, marker = struct.unpack_from(">BB", photo, position)
        if prefix != 0xFF:
            break
        if marker in _LONE_MARKERS:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", photo, position + 2)
        if marker in _SIZE_MARKERS:
            _, height, width = struct.unpack_from(">BHH", photo, position + 4)
            _check_jpeg_end(photo, position)
            return Header("jpeg", width, height)
        if length < 2 or marker in (0xD9, 0xDA):
            break
        position += 2 + length
    raise PhotoError(IMAGE_UNDECODABLE, "The JPEG has no frame header before its data.")


def _last_fill_byte(photo: bytes, position: int) -> int:
    """Where the marker's own 0xFF is: any number of them may come before it."""
    fill = _FILL.match(photo, position)
    return fill.end() - 1 if fill else position


def _check_jpeg_end(photo: bytes, frame: int) -> None:
    """Libjpeg fills a cut photo with grey and says nothing: without an end marker behind the scan it is cut."""
    scan = photo.find(b"\xff\xda", frame)
    if scan < 0 or photo.find(b"\xff\xd9", scan) < 0:
        raise cut_short(photo)


def _png(photo: bytes) -> Header:
    length, kind, width, height = struct.unpack_from(">I4sII", photo, 8)
    if kind != b"IHDR" or length != 13:
        raise PhotoError(IMAGE_UNDECODABLE, "The PNG does not start with its IHDR chunk.")
    if b"IEND" not in photo[-65536:]:
        raise cut_short(photo)
    return Header("png", width, height)


def _webp(photo: bytes) -> Header:
    (size,) = struct.unpack_from("<I", photo, 4)
    form, chunk = struct.unpack_from("<4s4s", photo, 8)
    if form != b"WEBP":
        raise PhotoError(UNSUPPORTED_MEDIA_TYPE, f"The RIFF file holds no WebP picture; send a {FORMATS} file.")
    if size + 8 > len(photo):
        raise cut_short(photo)
    if chunk == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", photo, 24)
        return Header("webp", 1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16))
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", photo, 21)
        return Header("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", photo, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    raise PhotoError(IMAGE_UNDECODABLE, "The WebP file starts with no picture chunk.")


def _bmp(photo: bytes) -> Header:
    (size,) = struct.unpack_from("<I", photo, 14)
    if size == 12:
        width, height = struct.unpack_from("<HH", photo, 18)
    else:
        width, height = struct.unpack_from("<ii", photo, 18)
    return Header("bmp", width, abs(height))  # a negative height means top-down rows


def _gif(photo: bytes) -> Header:
    width, height = struct.unpack_from("<HH", photo, 6)
    if b";" not in photo[-4096:]:
        raise cut_short(photo)
    return Header("gif", width, height)


def _tiff(order: str) -> Callable[[bytes], Header]:
    def read(photo: bytes) -> Header:
        (directory,) = struct.unpack_from(f"{order}I", photo, 4)
        (count,) = struct.unpack_from(f"{order}H", photo, directory)
        found: dict[int, int] = {}
        for entry in range(min(count, MAX_TIFF_ENTRIES)):
            tag, kind = struct.unpack_from(f"{order}HH", photo, directory + 2 + 12 * entry)
            if tag in (256, 257):
                form = f"{order}H" if kind == 3 else f"{order}I"
                (found[tag],) = struct.unpack_from(form, photo, directory + 2 + 12 * entry + 8)
        if len(found) != 2:
            raise PhotoError(IMAGE_UNDECODABLE, "The TIFF's first directory gives no width and height.")
        return Header("tiff", found[256], found[257])

    return read


_READERS: tuple[tuple[bytes, Callable[[bytes], Header]], ...] = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"II*\0", _tiff("<")),
    (b"MM\0*", _tiff(">")),
)
