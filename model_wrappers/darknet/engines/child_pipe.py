"""A child process behind a pipe: a line of JSON and values go in, a line of JSON and float32 arrays come out, in time.

Whatever goes wrong ends the child: after a late, cut or oversized answer nobody knows where the next one begins.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.errors import EngineError

Floats = npt.NDArray[np.float32]

MAX_ANSWER_BYTES = 1 << 30
MAX_LINE_BYTES = 1 << 20
MAX_DIMENSIONS = 8
ERRORS_TAIL_BYTES = 4096  # of standard error; the rest is forgotten as it comes
SHOWN_TAIL_BYTES = 300
ENDING_S = 5.0  # from the end of its answers to its exit
CHUNK_BYTES = 1 << 16  # a pipe holds this much
_FLOAT_BYTES = 4


class ChildPipe:
    """One child, one question at a time; ``name`` is what errors call it."""

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_s: float) -> None:
        self._name, self._timeout_s = name, timeout_s
        self._lock = threading.Lock()
        self._is_open = True
        self._answers, self._errors = bytearray(), bytearray()
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=cwd)
        for file in self._pipes:
            os.set_blocking(file.fileno(), False)

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        child = self._child
        return cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", (child.stdin, child.stdout, child.stderr))

    def ask(self, request: Mapping[str, Any], values: bytes = b"") -> tuple[dict[str, Any], list[Floats]]:
        """Send ``request`` (``do`` names it) and ``values``; the answer's header and its arrays, as ``shapes`` says.

        Raises:
            EngineError: it ended, was late, or answered something else. Then it is ended, here too.
        """
        with self._lock:
            if not self._is_open:
                raise EngineError(f"{self._name}: this process is closed")
            try:
                return self._exchange(request, values)
            except BaseException:  # an interrupt, too, leaves half an answer in the pipe
                self._end()
                raise

    def close(self) -> None:
        """End the child; a question under way in another thread fails."""
        self._child.kill()
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._child.kill()
            self._child.wait()
            for pipe in self._pipes:
                pipe.close()

    def _exchange(self, request: Mapping[str, Any], values: bytes) -> tuple[dict[str, Any], list[Floats]]:
        deadline = time.monotonic() + self._timeout_s
        doing = str(request["do"])
        self._send(json.dumps({**request, "bytes": len(values)}).encode() + b"\n" + values, doing, deadline)
        header, shapes = self._parse(self._receive_line(doing, deadline), doing)
        lengths = [_FLOAT_BYTES * math.prod(shape) for shape in shapes]
        if sum(lengths) > MAX_ANSWER_BYTES:
            raise EngineError(f"{self._name}: an answer of {sum(lengths)} bytes is above {MAX_ANSWER_BYTES}")
        chunks = [self._receive(length, doing, deadline) for length in lengths]
        if self._answers:
            raise EngineError(f"{self._name}: more bytes follow its answer to '{doing}'")
        return header, [np.frombuffer(c, "<f4").reshape(shape) for c, shape in zip(chunks, shapes, strict=True)]

    def _parse(self, line: bytes, doing: str) -> tuple[dict[str, Any], list[list[int]]]:
        try:
            header = json.loads(line)
            shapes = header["shapes"]
            if all(_is_shape(shape) for shape in shapes):
                return header, shapes
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # told below, as is a header of other shapes
        shown = line[:SHOWN_TAIL_BYTES].decode(errors="replace").strip()
        raise EngineError(f"{self._name}: its answer to '{doing}' is not JSON with shapes: {shown!r}")

    def _send(self, data: bytes, doing: str, deadline: float) -> None:
        descriptor, left = self._pipes[0].fileno(), memoryview(data)
        while left:
            self._wait_for(descriptor, select.POLLOUT, doing, deadline)
            try:
                left = left[os.write(descriptor, left[:CHUNK_BYTES]) :]
            except BrokenPipeError as exc:
                raise self._ended(doing) from exc

    def _receive_line(self, doing: str, deadline: float) -> bytes:
        while b"\n" not in self._answers:
            if len(self._answers) > MAX_LINE_BYTES:
                raise EngineError(f"{self._name}: a line of its answer is above {MAX_LINE_BYTES} bytes")
            self._receive_some(doing, deadline)
        return self._take(self._answers.index(b"\n") + 1)

    def _receive(self, length: int, doing: str, deadline: float) -> bytes:
        while len(self._answers) < length:
            self._receive_some(doing, deadline)
        return self._take(length)

    def _take(self, length: int) -> bytes:
        taken = bytes(memoryview(self._answers)[:length])
        del self._answers[:length]
        return taken

    def _receive_some(self, doing: str, deadline: float) -> None:
        descriptor = self._pipes[1].fileno()
        self._wait_for(descriptor, select.POLLIN, doing, deadline)
        data = os.read(descriptor, CHUNK_BYTES)
        if not data:
            raise self._ended(doing)
        self._answers += data

    def _wait_for(self, descriptor: int, event: int, doing: str, deadline: float) -> None:
        """Until ``descriptor`` is ready; what comes on standard error meanwhile is read, so that it never blocks there."""
        errors = self._pipes[2].fileno()
        poll = select.poll()  # select() refuses descriptors from 1024 on
        poll.register(descriptor, event)
        poll.register(errors, select.POLLIN)
        while True:
            ready = {found for found, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)}
            if errors in ready and not self._keep_errors():
                poll.unregister(errors)
            if descriptor in ready:
                return
            if time.monotonic() >= deadline:
                raise EngineError(f"{self._name} gave no answer to '{doing}' within {self._timeout_s:g} s")

    def _keep_errors(self) -> bool:
        """Read what is there of standard error and keep its tail; False at its end."""
        try:
            data = os.read(self._pipes[2].fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return True
        self._errors += data
        del self._errors[:-ERRORS_TAIL_BYTES]
        return bool(data)

    def _ended(self, doing: str) -> EngineError:
        try:
            code = f"ended with exit code {self._child.wait(ENDING_S)}"
        except subprocess.TimeoutExpired:
            code = f"closed its pipe and did not end within {ENDING_S:g} s"
        self._keep_errors()  # all of what a pipe holds
        tail = bytes(self._errors[-SHOWN_TAIL_BYTES:]).decode(errors="replace")
        last = " | ".join(tail.split("\n")[-3:]).strip(" |")
        return EngineError(f"{self._name} {code} at '{doing}': {last}")


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= MAX_DIMENSIONS
        and all(type(side) is int and side >= 0 for side in shape)
    )
