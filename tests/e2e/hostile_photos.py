"""Photos that mean harm, or look like it: damaged ones, bombs, files of two kinds, other things by the name of a photo."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from PIL import Image

from slipway.contract.limits import MAX_PHOTO_BYTES
from tests.e2e.hostile_kinds import FORM, JSON, PROTOBUF, Outcome, Upload

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SIDE = 7000  # 49 megapixels: just below the limit
SCANS = 3000


def encode(photo: bytes, name: str) -> bytes:
    """The photo in another format."""
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(out, name)
    return out.getvalue()


def truncations(encoded: dict[str, bytes]) -> Iterator[Upload]:
    for name, body in encoded.items():
        for step in range(32):
            yield Upload(f"{name} cut {step}", body[: len(body) * step // 33 + 1], f"image/{name.lower()}")


def bit_flips(encoded: dict[str, bytes], chance: random.Random) -> Iterator[Upload]:
    for name, body in encoded.items():
        for number in range(40):
            damaged = bytearray(body)
            reach = len(damaged) if number % 2 else min(len(damaged), 64)  # every other one hits the header
            for _ in range(chance.choice((1, 3, 20))):
                damaged[chance.randrange(reach)] ^= 1 << chance.randrange(8)
            yield Upload(f"{name} flipped {number}", bytes(damaged), outcome=Outcome.EITHER)


MAGICS = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBPVP8 ", b"BM", b"GIF89a", b"II*\0", b"MM\0*")


def wrong_headers(encoded: dict[str, bytes], chance: random.Random) -> Iterator[Upload]:
    for place, magic in enumerate(MAGICS):
        for name, body in encoded.items():
            yield Upload(f"magic {place} on {name}", magic + body[len(magic) :], outcome=Outcome.EITHER)
        for number in range(12):
            yield Upload(f"magic {place} on noise {number}", magic + chance.randbytes(chance.randrange(3000)))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with a true header and any chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def declared_sizes() -> Iterator[Upload]:
    """A few bytes that announce gigapixels, or nothing, or less than nothing."""
    sizes = ((100_000, 100_000), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (0, 5), (1_100_000, 1), (65_535, 65_535))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    for width, height in sizes:
        yield Upload(f"PNG {width}x{height}", png(width, height, pixels))
        for order, mark in (("<", b"II*\0"), (">", b"MM\0*")):
            entries = [(256, 4, 1, width), (257, 4, 1, height), (277, 4, 1, 65_535), (273, 4, 1, 8), (279, 4, 1, 2**31)]
            rows = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
            directory = struct.pack(f"{order}IH", 8, len(entries)) + rows + bytes(4)
            yield Upload(f"TIFF {order} {width}x{height}", mark + directory)
        dib = struct.pack("<IiiHHIIIIII", 40, width % 2**31, -(height % 2**31), 1, 24, 0, 0, 0, 0, 0, 0)
        yield Upload(f"BMP {width}x{height}", b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + dib + bytes(100))
        screen = struct.pack("<HHBBB", min(width, 65_535), min(height, 65_535), 0, 0, 0)
        yield Upload(f"GIF {width}x{height}", b"GIF89a" + screen + b";")
        canvas = struct.pack("<I", (width - 1) % 2**24)[:3] + struct.pack("<I", (height - 1) % 2**24)[:3]
        riff = b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas
        yield Upload(f"WebP {width}x{height}", b"RIFF" + struct.pack("<I", len(riff)) + riff)
        frame = struct.pack(">HBHHB", 8, 8, height % 65_536, width % 65_536, 1) + b"\1\x11\0"
        yield Upload(f"JPEG {width}x{height}", b"\xff\xd8\xff\xc0" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9")


def bombs() -> Iterator[Upload]:
    """Small files that take much memory or time to open; below the limits they are photos all the same."""
    plain = Image.new("L", (SIDE, SIDE), 90)
    for name, options in (
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"method": 0}),
        ("JPEG", {}),
    ):
        out = io.BytesIO()
        plain.save(out, name, **options)
        yield Upload(f"{name} of 49 megapixels", out.getvalue(), outcome=Outcome.EITHER, is_heavy=True)
    out = io.BytesIO()
    plain.save(out, "JPEG", progressive=True)
    scan = out.getvalue()[out.getvalue().rindex(b"\xff\xda") : -2]
    yield Upload("JPEG of thousands of scans", out.getvalue()[:-2] + scan * SCANS + b"\xff\xd9", is_heavy=True)
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(64 * 2**20)))
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(64 * 2**20)))
    frames = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    for name, extra in (
        ("texts", text * 4),
        ("profile", profile),
        ("frames", frames),
        ("chunks", chunk(b"tEXt", b"a\0b") * 20_000),
    ):
        body = png(4, 4, extra, chunk(b"IDAT", zlib.compress(bytes(4 * 13))))
        yield Upload(f"PNG with inflating {name}", body, outcome=Outcome.EITHER, is_heavy=True)
    yield Upload("JPEG of fill bytes", b"\xff\xd8" + b"\xff" * (MAX_PHOTO_BYTES - 2), is_heavy=True)
    yield Upload("JPEG of markers", b"\xff\xd8" + b"\xff\xd0" * (MAX_PHOTO_BYTES // 2 - 1), is_heavy=True)
    entry = struct.pack("<HHII", 60_000, 4, 1, 1)
    head = struct.pack("<HHII", 256, 4, 1, 10) + struct.pack("<HHII", 257, 4, 1, 10)
    yield Upload("TIFF of unknown tags", b"II*\0" + struct.pack("<IH", 8, 65_535) + head + entry * 65_533 + bytes(4))
    yield Upload("TIFF that is its own next page", b"II*\0" + struct.pack("<IH", 8, 2) + head + struct.pack("<I", 8))
    pages = io.BytesIO()
    small = Image.new("L", (8, 8))
    many = [Image.new("L", (8, 8), 1 + number % 250) for number in range(2000)]
    small.save(pages, "GIF", save_all=True, append_images=many)
    yield Upload("GIF of 2,000 frames", pages.getvalue(), outcome=Outcome.EITHER, is_heavy=True)


def zipped(data: bytes, *, depth: int = 1) -> bytes:
    for _ in range(depth):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", data)
        data = out.getvalue()
    return data


HTML = b"<!DOCTYPE html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
XML_BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg>&b;&b;</svg>'
PDF = b"%PDF-1.7\n1 0 obj<</Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"


def polyglots(photo: bytes, encoded: dict[str, bytes]) -> Iterator[Upload]:
    """Two kinds of file in one: what starts as a photo is that photo."""
    others = {
        "zip": zipped(b"x" * 1000),
        "html": HTML,
        "pdf": PDF,
        "svg": SVG,
        "photo": photo,
        "elf": b"\x7fELF" + bytes(64),
    }
    for name, other in others.items():
        yield Upload(f"JPEG then {name}", photo + other, outcome=Outcome.BOXES)
        comment = b"\xff\xfe" + struct.pack(">H", len(other) + 2) + other
        if len(comment) < 65_536:
            yield Upload(f"JPEG around {name}", photo[:2] + comment + photo[2:], outcome=Outcome.BOXES)
        yield Upload(f"PNG then {name}", encoded["PNG"] + other, "image/png", Outcome.BOXES)
        if name != "photo":
            yield Upload(f"{name} then JPEG", other + photo)
            yield Upload(f"GIF then {name}", encoded["GIF"] + other, "image/gif", Outcome.EITHER)


def no_photos(chance: random.Random) -> Iterator[Upload]:
    kinds = {
        "empty": b"",
        "zip": zipped(bytes(10_000)),
        "nested zip": zipped(bytes(10_000_000), depth=4),
        "html": HTML,
        "svg": SVG,
        "xml bomb": XML_BOMB,
        "pdf": PDF,
        "elf": b"\x7fELF" + bytes(100),
        "npy": b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0",
        "avif": b"\0\0\0\x18ftypavif\0\0\0\0",
        "exr": b"\x76\x2f\x31\x01" + bytes(60),
        "hdr": b"#?RADIANCE\n\n-Y 99999 +X 99999\n",
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
        "sun raster": b"\x59\xa6\x6a\x95" + bytes(60),
        "pbm": b"P6 99999 99999 255\n",
        "zeros": bytes(1000),
    }
    types = ("image/jpeg", "image/png", "image/svg+xml", "application/octet-stream")
    for name, body in kinds.items():
        for content_type in types:
            yield Upload(f"{name} as {content_type}", body, content_type)
    for number in range(40):
        yield Upload(f"noise {number}", b"\0" + chance.randbytes(chance.randrange(20_000)), chance.choice(types))


def lying_types(photo: bytes, encoded: dict[str, bytes]) -> Iterator[Upload]:
    true = ("image/png", "IMAGE/JPEG", "image/jpeg; charset=utf-8", "image/", "image/x-" + "y" * 900, "image/svg+xml")
    for content_type in (*true, "application/octet-stream"):
        yield Upload(f"JPEG as {content_type[:20]}", photo, content_type, Outcome.BOXES)
    for content_type in (
        JSON,
        "application/vnd.api+json",
        FORM,
        "multipart/form-data",
        "multipart/mixed",
        "application/x-www-form-urlencoded",
        PROTOBUF,
        "text/html",
        "text/plain",
        "application/zip",
        "application/grpc-web+proto",
        "*/*",
        "image",
        "multipart/form-data; boundary=" + "x" * 4000,
        'multipart/form-data; boundary="' + '\\"' * 2000,
        "multipart/form-data" + ";" * 4000,
    ):
        for name in ("JPEG", "PNG", "TIFF"):
            yield Upload(f"{name} as {content_type[:50]}", encoded[name], content_type)


def compressed(photo: bytes) -> Iterator[Upload]:
    """Content-Encoding: inflated before it is measured."""
    bomb = gzip.compress(bytes(256 * 2**20), compresslevel=6)
    for encoding in ("gzip", "deflate"):
        yield Upload(
            f"{encoding} bomb",
            bomb if encoding == "gzip" else zlib.compress(bytes(64 * 2**20)),
            headers={"Content-Encoding": encoding},
            is_heavy=True,
        )
        yield Upload(f"JPEG that is no {encoding}", photo, headers={"Content-Encoding": encoding})
    yield Upload("gzip of a JPEG", gzip.compress(photo), outcome=Outcome.BOXES, headers={"Content-Encoding": "gzip"})
    yield Upload("gzip cut short", gzip.compress(photo)[:-300], headers={"Content-Encoding": "gzip"})
    yield Upload("br that is none", photo, headers={"Content-Encoding": "br"}, outcome=Outcome.EITHER)
    yield Upload("unknown encoding", photo, headers={"Content-Encoding": "x"}, outcome=Outcome.EITHER)
