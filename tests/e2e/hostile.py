"""Uploads that mean harm, or look like it: made from one valid photo and a seed."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from PIL import Image

from slipway.contract.limits import MAX_BODY_BYTES, MAX_PHOTO_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensor_pb2

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
BOUNDARY = "----b"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
SIDE = 7000  # 49 megapixels: just below the limit
SCANS = 3000


class Outcome(Enum):
    """What an upload may lead to; a 5xx is never among it."""

    REFUSED = "a 4xx with a code"
    BOXES = "the boxes of the valid photo inside"
    EITHER = "a 4xx with a code, or some detections: what was damaged may still be a photo"


@dataclass(frozen=True)
class Upload:
    """One request body; ``is_heavy`` ones are sent one at a time, since each may take the whole decode limit."""

    name: str
    body: bytes
    content_type: str = "image/jpeg"
    outcome: Outcome = Outcome.REFUSED
    headers: dict[str, str] = field(default_factory=dict)
    is_heavy: bool = False


def uploads(photo: bytes, *, seed: int) -> list[Upload]:
    """All of them. ``photo``: a valid JPEG."""
    chance = random.Random(seed)
    encoded = {name: encode(photo, name) for name in FORMATS}
    return [
        *truncations(encoded),
        *bit_flips(encoded, chance),
        *wrong_headers(encoded, chance),
        *declared_sizes(),
        *bombs(),
        *polyglots(photo, encoded),
        *no_photos(chance),
        *lying_types(photo, encoded),
        *compressed(photo),
        *forms(photo, chance),
        *json_texts(photo, chance),
        *base64_texts(photo, chance),
        *messages(photo, chance),
    ]


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


def part(headers: bytes, content: bytes) -> bytes:
    return b"--" + BOUNDARY.encode() + b"\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


END = b"--" + BOUNDARY.encode() + b"--\r\n"


def forms(photo: bytes, chance: random.Random) -> Iterator[Upload]:
    """multipart/form-data, broken in every place."""
    named = b'Content-Disposition: form-data; name="image"; filename="p.jpg"\r\nContent-Type: image/jpeg'
    good = part(named, photo)
    yield Upload("form", good + END, FORM, Outcome.BOXES)
    yield Upload("form between lies", b"before\r\n" + good + END + b"after", FORM, Outcome.BOXES)
    bodies = {
        "without end": good,
        "without anything": b"",
        "only an end": END,
        "other boundary": good.replace(b"--b", b"--c") + END,
        "twice the field": good + good + END,
        "two photos": good + part(named.replace(b"image", b"other", 1), photo) + END,
        "10,000 parts": b"".join(part(b'Content-Disposition: form-data; name="f%d"' % n, b"1") for n in range(10_000))
        + END,
        "endless headers": part(b"A: " + b"x" * 3_000_000, photo) + END,
        "many headers": part(b"\r\n".join(b"A%d: b" % n for n in range(2000)), photo) + END,
        "no name": part(b"Content-Disposition: form-data", photo) + END,
        "no headers": part(b"", photo) + END,
        "line feeds only": (good + END).replace(b"\r\n", b"\n"),
        "empty photo": part(named, b"") + END,
        "text for JSON": part(b'Content-Disposition: form-data; name="jsonData"', photo) + END,
        "deep JSON": part(b'Content-Disposition: form-data; name="jsonData"', b"[" * 100_000) + END,
        "dashes": b"--" * 500_000,
        "boundaries": (b"--" + BOUNDARY.encode() + b"\r\n") * 100_000,
    }
    for name, body in bodies.items():
        yield Upload(f"form: {name}", body, FORM)
    for name, header in {
        "comments": b"Content-Disposition: form-data; " + b"(" * 3900,
        "comment in the name": b"Content-Disposition: form-data; name=" + b"(" * 3900,
        "comments in the type": named[:62] + b"\r\nContent-Type: image/" + b"(" * 3900,
        "slashes": named[:62] + b"\r\nContent-Type: " + b"(/" * 1900,
        "quotes": b'Content-Disposition: form-data; name="' + b'\\"' * 1900,
        "unknown charset": b"Content-Disposition: form-data; name*=x-none''abc",
        "codec for a charset": b"Content-Disposition: form-data; name*=zlib''abc",
        "null": b"Content-Disposition: form-data; name*=\0''abc",
        "not ASCII": b'Content-Disposition: form-data; name="\xff\xfe"',
        "encoded words": b'Content-Disposition: form-data; name="' + b"=?utf-8?q?a?=" * 280 + b'"',
        "continuations": b"Content-Disposition: form-data; " + b"".join(b"name*%d*=a;" % n for n in range(300)),
        "folds": b"Content-Disposition: form-data;" + b"\r\n " * 1200 + b"name=a",
    }.items():
        yield Upload(f"form header: {name}", part(header, photo) + END, FORM, Outcome.EITHER)
    for number in range(40):
        damaged = bytearray(good + END)
        for _ in range(8):
            damaged[chance.choice((chance.randrange(120), -1 - chance.randrange(30)))] = chance.randrange(256)
        yield Upload(f"form damaged {number}", bytes(damaged), FORM, Outcome.EITHER)


def json_texts(photo: bytes, chance: random.Random) -> Iterator[Upload]:
    """Everything that is nearly a SeldonMessage."""
    text = base64.b64encode(photo)
    good = b'{"binData": "' + text + b'"}'
    bodies = {
        "nothing": b"",
        "deep lists": b'{"data":{"ndarray":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "101 levels": b'{"jsonData":' + b"[" * 101 + b"]" * 101 + b"}",
        "open brackets": b"[" * 1_000_000,
        "huge integer": b'{"data":{"ndarray":[' + b"9" * 100_000 + b"]}}",
        "huge float": b'{"data":{"ndarray":[[[1e999999999,0,0]]]}}',
        "not a number": b'{"data":{"ndarray":[[[NaN,-Infinity,Infinity]]]}}',
        "not UTF-8": b'{"strData": "\xff\xfe\xfa"}',
        "lone surrogate": b'{"strData": "\\ud800"}',
        "null": b'{"strData": "\\u0000"}',
        "byte order mark": b"\xef\xbb\xbf{}",
        "UTF-16": '{"strData": "x"}'.encode("utf-16"),
        "two values": b"{} {}",
        "comment": b'{/*x*/"strData": "x"}',
        "trailing comma": b'{"strData": "x",}',
        "single quotes": b"{'strData': 'x'}",
        "unknown payload": b'{"photo": "x"}',
        "list of messages": b"[" + good + b"]",
        "string": b'"' + text + b'"',
        "empty tensor": b'{"data":{"tensor":{"shape":[],"values":[]}}}',
        "large shape": b'{"data":{"tensor":{"shape":[100000,100000,3],"values":[1]}}}',
        "negative shape": b'{"data":{"tensor":{"shape":[-1,-1,3],"values":[1,2,3]}}}',
        "shape of strings": b'{"data":{"tensor":{"shape":["1"],"values":[1]}}}',
        "ragged": b'{"data":{"ndarray":[[1,2],[3]]}}',
        "objects in an array": b'{"data":{"ndarray":[{},{}]}}',
        "texts in an array": b'{"data":{"ndarray":[["a","b"]]}}',
        "65 dimensions": b'{"data":{"ndarray":' + b"[" * 65 + b"1" + b"]" * 65 + b"}}",
        "levels above 255": b'{"data":{"ndarray":[[[256,0,0]]]}}',
        "levels below 0": b'{"data":{"ndarray":[[[-1,0,0]]]}}',
        "two channels": b'{"data":{"ndarray":[[[1,2]]]}}',
        "no pixels": b'{"data":{"ndarray":[[]]}}',
        "path": b'{"jsonData":{"image":"/etc/passwd"}}',
        "address": b'{"jsonData":{"url":"http://169.254.169.254/latest"}}',
        "file address": b'{"jsonData":{"image":"file:///etc/passwd"}}',
    }
    for name, body in bodies.items():
        yield Upload(f"JSON: {name}", body, JSON)
    for name, body in {
        "bytes above the limit": b'{"strData":"' + b"A" * (MAX_BODY_BYTES - 12) + b'"}',
        "a long row of pixels": b'{"data":{"ndarray":[[' + b",".join([b"[0,0,0]"] * 1_100_000) + b"]]}}",
        "millions of lists": b'{"data":{"ndarray":[' + b",".join([b"[]"] * 4_000_000) + b"]}}",
        "texts that pad": b'{"data":{"ndarray":["' + b"A" * 100_000 + b'",' + b",".join([b'""'] * 100_000) + b"]}}",
        "wide integers": b'{"data":{"ndarray":[' + b",".join([b"9" * 4299] * 2700) + b"]}}",
        "millions of keys": b'{"jsonData":{' + b",".join(b'"%d":0' % n for n in range(900_000)) + b"}}",
        "escapes": b'{"strData":"' + b'\\"' * 6_000_000 + b'"}',
    }.items():
        yield Upload(f"JSON: {name}", body, JSON, is_heavy=True)
    yield Upload("JSON: same key twice", b'{"binData": "AA==", "binData": "' + text + b'"}', JSON, Outcome.BOXES)
    yield Upload("JSON: with a byte order mark", b"\xef\xbb\xbf" + good, JSON, Outcome.BOXES)
    yield Upload("JSON: spaces", b" " * 100_000 + good, JSON, Outcome.BOXES)
    values = (None, True, 0, 1.5, -1, 10**30, "", "x", [], [[]], [None], {}, {"a": []}, [[[0, 0, 0]], 1])
    for key in ("data", "binData", "strData", "jsonData", "meta", "status", "customData"):
        for place, value in enumerate(values):
            fields = {key: value} if key not in ("meta", "status") else {key: value, "strData": "x"}
            yield Upload(f"JSON: {key} {place}", json.dumps(fields).encode(), JSON)
    for key in ("ndarray", "tensor", "tftensor", "names"):
        for place, value in enumerate(values):
            yield Upload(f"JSON: data.{key} {place}", json.dumps({"data": {key: value}}).encode(), JSON, Outcome.EITHER)
    for number in range(60):
        damaged = bytearray(good)
        damaged[chance.randrange(14)] = chance.randrange(256)
        yield Upload(f"JSON damaged {number}", bytes(damaged), JSON, Outcome.EITHER)


def base64_texts(photo: bytes, chance: random.Random) -> Iterator[Upload]:
    text = base64.b64encode(photo).decode()
    texts = {
        "cut": text[:-7],
        "URL alphabet": base64.urlsafe_b64encode(b"\xff\xef" * 100).decode(),
        "no padding": "QUJD" * 9 + "Q",
        "padding first": "====" + text,
        "only padding": "====",
        "twice encoded": base64.b64encode(text.encode()).decode(),
        "hexadecimal": photo.hex(),
        "data URL without data": "data:image/jpeg;base64,",
        "data URL without comma": "data:image/jpeg;base64" + text,
        "percent": "%FF%D8" * 20,
        "letters": "ÿØÿà" * 50,
        "spaces": " " * 1000,
    }
    for name, value in texts.items():
        for key in ("strData", "jsonData"):
            payload = value if key == "strData" else {"image": value}
            yield Upload(f"base64: {name} in {key}", json.dumps({key: payload}).encode(), JSON)
    for number in range(30):
        damaged = list(text)
        damaged[chance.randrange(len(damaged))] = chance.choice("!*\n\t\0é☃")
        body = json.dumps({"strData": "".join(damaged)}).encode()
        yield Upload(f"base64 damaged {number}", body, JSON, Outcome.EITHER)
    lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    yield Upload("base64 in lines", json.dumps({"strData": lines}).encode(), JSON, Outcome.BOXES)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def length_delimited(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def ndarray_of(values: bytes) -> bytes:
    """A SeldonMessage whose data.ndarray has the encoded values."""
    return length_delimited(3, length_delimited(3, values))


def announced(shape: tuple[int, ...], data_type: int) -> bytes:
    """A TensorProto that names a shape and carries one value."""
    message = pb.SeldonMessage()
    tensor = message.data.tftensor
    tensor.dtype = data_type
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.double_val.append(1.0)
    tensor.int_val.append(1)
    return message.SerializeToString()


def messages(photo: bytes, chance: random.Random) -> Iterator[Upload]:
    """Protobuf, over REST here; the same bytes go over gRPC too."""
    good = pb.SeldonMessage(binData=photo).SerializeToString()
    yield Upload("protobuf", good, PROTOBUF, Outcome.BOXES)
    yield Upload("protobuf with unknown fields", good + b"\xa2\x06\x03abc", PROTOBUF, Outcome.BOXES)
    nested = b""
    for _ in range(2000):
        nested = length_delimited(1, length_delimited(6, nested))
    bodies = {
        "nothing": b"",
        "noise": chance.randbytes(500),
        "endless varint": b"\x08" + b"\xff" * 1000,
        "lying length": b"\x22\xff\xff\xff\xff\x0f",
        "cut": good[:-100],
        "deep": ndarray_of(nested),
        "empty photo": pb.SeldonMessage(binData=b"").SerializeToString(),
        "not UTF-8": length_delimited(5, b"\xff\xfe"),
        "large shape": announced((2**31 - 1, 2**31 - 1, 3), tensor_pb2.DT_DOUBLE),
        "negative shape": announced((-5, 3), tensor_pb2.DT_DOUBLE),
        "4096 squared": announced((4096, 4096, 3), tensor_pb2.DT_DOUBLE),
        "20 million wide": announced((1, 20_000_000, 3), tensor_pb2.DT_DOUBLE),
        "unknown type": announced((1, 1, 3), 99),
        "values that do not fill": pb.SeldonMessage(
            data=pb.DefaultData(tensor=pb.Tensor(shape=[9, 9, 3], values=[1.0]))
        ).SerializeToString(),
    }
    for name, body in bodies.items():
        yield Upload(f"protobuf: {name}", body, PROTOBUF)
    for name, value in {
        "empty values": b"\x0a\0",
        "empty lists": b"\x0a\x02\x32\0",
        "empty objects": b"\x0a\x02\x2a\0",
    }.items():
        body = ndarray_of(value * ((MAX_BODY_BYTES - 100) // len(value)))
        yield Upload(f"protobuf: millions of {name}", body, PROTOBUF, is_heavy=True)
    for number in range(60):
        damaged = bytearray(good)
        for _ in range(3):
            damaged[chance.randrange(8) if number % 2 else chance.randrange(len(damaged))] = chance.randrange(256)
        yield Upload(f"protobuf damaged {number}", bytes(damaged), PROTOBUF, Outcome.EITHER)


POST = b"POST /seldon/default/yolo/api/v1.0/predictions HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def raw_requests(photo: bytes, *, seed: int) -> dict[str, bytes]:
    """What no HTTP client sends, for the gateway's port."""
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
