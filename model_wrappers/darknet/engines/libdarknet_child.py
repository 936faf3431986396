"""The program of the child process: libdarknet behind a pipe.

Run as ``python -I libdarknet_child.py LIBRARY CFG WEIGHTS``. Each request is one line of JSON, followed by float32 values
where it says so; each answer is one line of JSON with ``shapes``, followed by that many float32 values. libdarknet calls
exit() on a file that it cannot read: that, and a crash, ends this process alone. What it prints goes to standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any, BinaryIO

FLOAT_BYTES = 4


class Image(ctypes.Structure):
    """``image`` of darknet.h: planes of float32."""

    _fields_ = (
        ("w", ctypes.c_int),
        ("h", ctypes.c_int),
        ("c", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_float)),
    )


class Box(ctypes.Structure):
    """``box`` of darknet.h: centre and sides."""

    _fields_ = (("x", ctypes.c_float), ("y", ctypes.c_float), ("w", ctypes.c_float), ("h", ctypes.c_float))


class Found(ctypes.Structure):
    """``detection`` of darknet.h."""

    _fields_ = (
        ("bbox", Box),
        ("classes", ctypes.c_int),
        ("prob", ctypes.POINTER(ctypes.c_float)),
        ("mask", ctypes.POINTER(ctypes.c_float)),
        ("objectness", ctypes.c_float),
        ("sort_class", ctypes.c_int),
    )


Floats = ctypes.POINTER(ctypes.c_float)
# function: (result, arguments), from darknet.h of 2018-09-14
SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "load_network": (ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)),
    "set_batch_network": (None, (ctypes.c_void_p, ctypes.c_int)),
    "network_width": (ctypes.c_int, (ctypes.c_void_p,)),
    "network_height": (ctypes.c_int, (ctypes.c_void_p,)),
    "network_predict": (Floats, (ctypes.c_void_p, Floats)),
    "get_network_image_layer": (Image, (ctypes.c_void_p, ctypes.c_int)),
    "load_image_color": (Image, (ctypes.c_char_p, ctypes.c_int, ctypes.c_int)),
    "letterbox_image": (Image, (Image, ctypes.c_int, ctypes.c_int)),
    "free_image": (None, (Image,)),
    "get_network_boxes": (
        ctypes.POINTER(Found),
        (
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_float,
            ctypes.c_float,
            ctypes.POINTER(ctypes.c_int),
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_int),
        ),
    ),
    "do_nms_sort": (None, (ctypes.POINTER(Found), ctypes.c_int, ctypes.c_int, ctypes.c_float)),
    "do_nms_obj": (None, (ctypes.POINTER(Found), ctypes.c_int, ctypes.c_int, ctypes.c_float)),
    "free_detections": (None, (ctypes.POINTER(Found), ctypes.c_int)),
}


class Darknet:
    """One loaded network and the four things that are asked of it."""

    def __init__(self, library: str, cfg: str, weights: str) -> None:
        self._library = ctypes.CDLL(library)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._network = self._library.load_network(os.fsencode(cfg), os.fsencode(weights), 0)
        self._library.set_batch_network(self._network, 1)
        self._size = (self._library.network_width(self._network), self._library.network_height(self._network))

    def size(self, request: dict[str, Any], values: bytes) -> tuple[dict[str, Any], list[bytes]]:
        return {"shapes": [], "size": self._size}, []

    def layers(self, request: dict[str, Any], values: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """The outputs of layers ``indices`` for the network input ``values``."""
        planes = (ctypes.c_float * (len(values) // FLOAT_BYTES)).from_buffer_copy(values)
        self._library.network_predict(self._network, planes)
        images = [self._library.get_network_image_layer(self._network, index) for index in request["indices"]]
        return {"shapes": [_shape(image) for image in images]}, [_bytes(image) for image in images]

    def letterbox(self, request: dict[str, Any], values: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """The photo as Darknet decodes it, and scaled into the network's input."""
        photo = self._library.load_image_color(os.fsencode(request["photo"]), 0, 0)
        boxed = self._library.letterbox_image(photo, *self._size)
        answer = {"shapes": [_shape(photo), _shape(boxed)]}, [_bytes(photo), _bytes(boxed)]
        self._library.free_image(photo)
        self._library.free_image(boxed)
        return answer

    def detect(self, request: dict[str, Any], values: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Photo to boxes by Darknet alone: [class, probability, x, y, w, h], centres and sides in pixels."""
        photo = self._library.load_image_color(os.fsencode(request["photo"]), 0, 0)
        boxed = self._library.letterbox_image(photo, *self._size)
        self._library.network_predict(self._network, boxed.data)
        confidence, count = request["confidence"], ctypes.c_int(0)
        found = self._library.get_network_boxes(
            self._network, photo.w, photo.h, confidence, confidence, None, 0, ctypes.byref(count)
        )
        suppress = self._library.do_nms_obj if request["nms"] == "obj" else self._library.do_nms_sort
        suppress(found, count.value, request["classes"], request["iou"])
        boxes = [
            [k, one.prob[k], one.bbox.x, one.bbox.y, one.bbox.w, one.bbox.h]
            for one in found[: count.value]
            for k in range(request["classes"])
            if one.prob[k] > 0
        ]
        self._library.free_detections(found, count.value)
        self._library.free_image(photo)
        self._library.free_image(boxed)
        return {"shapes": [], "boxes": boxes}, []


def _shape(image: Image) -> list[int]:
    return [image.c, image.h, image.w]


def _bytes(image: Image) -> bytes:
    return ctypes.string_at(image.data, image.c * image.h * image.w * FLOAT_BYTES)


def serve(darknet: Darknet, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the parent closes the pipe."""
    while line := requests.readline():
        request = json.loads(line)
        values = requests.read(request.get("bytes", 0))
        header, chunks = getattr(darknet, request["do"])(request, values)
        answers.write(json.dumps(header).encode() + b"\n")
        answers.writelines(chunks)
        answers.flush()


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libdarknet prints on standard output: that would stand between the answers
    serve(Darknet(*sys.argv[1:4]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
