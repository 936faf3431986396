"""Messages around a photo that mean harm, or look like it: forms, JSON, base64, protobuf."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensor_pb2
from tests.e2e.hostile_kinds import BOUNDARY, FORM, JSON, PROTOBUF, Outcome, Upload


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
