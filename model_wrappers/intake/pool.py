"""Decoder processes: lent one photo at a time, killed when late, replaced when gone."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model_wrappers.environment import CONTAINER_VARIABLE, passed
from model_wrappers.intake.errors import DECODER_UNAVAILABLE, IMAGE_TOO_SLOW, IMAGE_UNDECODABLE, PhotoError
from model_wrappers.intake.header import MAX_PHOTO_BYTES, MAX_PIXELS, read_header
from model_wrappers.intake.request import MAX_SENTENCE_BYTES, READY, REPLY, Preparation

DECODE_TIMEOUT_S = 2.0
START_TIMEOUT_S = 20.0
WAIT_TIMEOUT_S = 30.0  # for a decoder that nobody uses
PASSED_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", CONTAINER_VARIABLE)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # else numpy starts one for each processor
LARGE_BLOCK_BYTES, KEPT_BYTES = 8 * 1024**2, 16 * 1024**2
KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(LARGE_BLOCK_BYTES), "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES)}
"""Of glibc (mallopt(3)): the pixels of a photo of up to 2.7 megapixels stay for the next one. Left to itself it gave them
back each time, and to get them again page by page took a fifth of the time of a small photo."""
PIPE_BYTES = (
    256 * 1024
)  # of 64 KiB without asking; all of a user's pipes together may have 64 MiB before new ones get little

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """``size`` is the original photo's (width, height); ``pixels`` uint8 [H, W, 3] RGB."""

    size: tuple[int, int]
    pixels: NDArray[np.uint8]


class _Late(Exception):
    """The process did not answer in time."""


class _Gone(Exception):
    """The process ended in the middle of a photo, or answered what no decoder does."""


class _Decoder:
    """One process. Not for two threads at once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "model_wrappers.intake.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**ONE_THREAD, **KEPT_MEMORY, **passed(PASSED_VARIABLES)},
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  - PIPE
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        for descriptor in (self._to, self._from):
            os.set_blocking(descriptor, False)
            _widen(descriptor)
        self._is_ready = False
        self._is_between_photos = True
        self._retires = False

    def prepare(self, photo: bytes, preparation: Preparation, *, timeout_s: float) -> Prepared:
        """One photo's pixels, or a PhotoError with the decoder's reason. Whatever else is raised ends its use."""
        self._wait_ready()
        self._is_between_photos = False  # an interrupt would leave somebody's pixels in the pipe, for the next photo
        answer = self._exchange(photo, preparation, timeout_s)
        self._is_between_photos = True
        if isinstance(answer, str):
            raise PhotoError(IMAGE_UNDECODABLE, answer)
        return answer

    def _exchange(self, photo: bytes, preparation: Preparation, timeout_s: float) -> Prepared | str:
        deadline = time.monotonic() + timeout_s
        self._write(preparation.pack(len(photo)), deadline)
        self._write(photo, deadline)
        is_decoded, self._retires, *numbers = REPLY.unpack(self._read(REPLY.size, deadline))
        if not is_decoded:
            return self._sentence(numbers[0], deadline)
        width, height, columns, rows = numbers
        if not (0 < width * height <= MAX_PIXELS and 0 < rows * columns <= MAX_PIXELS):
            raise _Gone
        pixels = np.frombuffer(self._read(rows * columns * 3, deadline), np.uint8).reshape(rows, columns, 3)
        return Prepared((width, height), pixels)

    def _sentence(self, length: int, deadline: float) -> str:
        if length > MAX_SENTENCE_BYTES:
            raise _Gone
        return self._read(length, deadline).decode(errors="replace")

    def _wait_ready(self) -> None:
        """Its imports take their time once; when they fail that is not the photo's fault."""
        if self._is_ready:
            return
        try:
            self._read(len(READY), time.monotonic() + START_TIMEOUT_S)
        except (_Late, _Gone) as exc:
            self.kill()
            raise PhotoError(DECODER_UNAVAILABLE, "The photo's decoder does not start: its log says why.") from exc
        self._is_ready = True

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._to, selectors.EVENT_WRITE, deadline)
            try:
                view = view[os.write(self._to, view) :]
            except BrokenPipeError as exc:
                raise _Gone from exc

    def _read(self, count: int, deadline: float) -> bytearray:
        data, place = bytearray(count), 0
        view = memoryview(data)  # what comes goes straight into its place
        while place < count:
            self._wait(self._from, selectors.EVENT_READ, deadline)
            found = os.readv(self._from, [view[place:]])
            if not found:
                raise _Gone
            place += found
        return data

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        with selectors.PollSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise _Late

    @property
    def is_usable(self) -> bool:
        return self._is_between_photos and not self._retires and self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


class _Idle(queue.Queue[_Decoder]):
    """Decoders that nobody uses; who needs one gets the first."""

    def put_first(self, decoder: _Decoder) -> None:
        with self.not_empty:
            self.queue.appendleft(decoder)
            self.not_empty.notify()


def _widen(pipe: int) -> None:
    """Fewer and larger pieces, each of which takes a change of processes, where the system lets a user have such a pipe."""
    with contextlib.suppress(PermissionError):  # too many of them: it is slower as it was
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class DecoderPool:
    """Decoder processes for ``size`` photos at once. Use as a context manager, or call ``close``; safe for threads.

    There is one more of them: while the place of a killed one is taken by a process that still starts, it is ready.
    """

    def __init__(
        self, size: int = 1, *, timeout_s: float = DECODE_TIMEOUT_S, max_photo_bytes: int = MAX_PHOTO_BYTES
    ) -> None:
        self._timeout_s = timeout_s
        self._max_photo_bytes = max_photo_bytes
        self._idle = _Idle()
        try:
            for _ in range(size + 1):
                self._idle.put(_Decoder())
        except BaseException:
            self.close()  # those that did start
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self, photo: bytes, preparation: Preparation) -> Prepared:
        """Look at the header here, decode and letterbox over there. PhotoError says what is wrong with the photo."""
        read_header(photo, max_photo_bytes=self._max_photo_bytes)
        decoder = self._usable(self._lent())
        if not decoder.is_usable:
            self._idle.put(decoder)
            raise PhotoError(DECODER_UNAVAILABLE, "The photo's decoder cannot be started: its log says why.")
        try:
            return self._prepare(decoder, photo, preparation)
        finally:
            self._give_back(decoder)

    def _lent(self) -> _Decoder:
        try:
            return self._idle.get(timeout=WAIT_TIMEOUT_S)
        except queue.Empty as exc:
            sentence = f"Every decoder has been busy for {WAIT_TIMEOUT_S:g} s: send the photo again later."
            raise PhotoError(DECODER_UNAVAILABLE, sentence) from exc

    def _prepare(self, decoder: _Decoder, photo: bytes, preparation: Preparation) -> Prepared:
        try:
            return decoder.prepare(photo, preparation, timeout_s=self._timeout_s)
        except _Late as exc:
            decoder.kill()
            raise PhotoError(IMAGE_TOO_SLOW, f"The photo took more than {self._timeout_s:g} s to decode.") from exc
        except _Gone as exc:
            decoder.kill()
            raise PhotoError(IMAGE_UNDECODABLE, "The photo made its decoder fail.") from exc

    def _give_back(self, decoder: _Decoder) -> None:
        """First in the queue, for its memory is warm; a replacement at the end, where it starts while the others work."""
        if decoder.is_usable:
            self._idle.put_first(decoder)
        else:
            self._idle.put(self._usable(decoder))

    @staticmethod
    def _usable(decoder: _Decoder) -> _Decoder:
        """The decoder, or another in the place of one that was killed, or retired after a large photo.

        Where the system starts no process it is the old one, and its place is not lost.
        """
        if decoder.is_usable:
            return decoder
        decoder.kill()
        try:
            return _Decoder()
        except OSError:
            logger.exception("no decoder process can be started")
            return decoder

    def close(self) -> None:
        """End every idle process. No ``prepare`` may be under way."""
        while not self._idle.empty():
            self._idle.get_nowait().kill()
