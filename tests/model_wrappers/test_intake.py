"""Photos of every kind, whole and broken, through the real decoder process."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from model_wrappers.environment import CONTAINER_VARIABLE
from model_wrappers.intake import DecoderPool, PhotoError, Preparation
from model_wrappers.intake.header import read_header
from model_wrappers.intake.request import REPLY
from slipway.onebox.runner import marks
from tests.waiting import wait_until

WIDTH, HEIGHT = 64, 48
AS_IT_IS = Preparation()
PATIENCE_S = 50.0  # where it is not the time that is tested


def quarters() -> np.ndarray:
    """Red, green over blue, white: smooth enough for JPEG, not symmetric in any way."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:24, :32], pixels[:24, 32:], pixels[24:, :32], pixels[24:, 32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return pixels


def encoded(format: str, *, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(quarters()).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(timeout_s=PATIENCE_S) as pool:
        yield pool


def assert_quarters(pixels: np.ndarray, *, tolerance: int = 12, grey: bool = False) -> None:
    expected = quarters()
    if grey:
        expected = np.asarray(Image.fromarray(expected).convert("L").convert("RGB"))
    assert pixels.shape == expected.shape
    for y, x in [(12, 16), (12, 48), (36, 16), (36, 48)]:
        assert np.abs(pixels[y, x].astype(int) - expected[y, x]).max() <= tolerance, (
            y,
            x,
            pixels[y, x],
            expected[y, x],
        )


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 95}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
    ids=str,
)
def test_photo_of_each_format_decodes(pool: DecoderPool, format: str, options: dict[str, object]) -> None:
    prepared = pool.prepare(encoded(format, **options), AS_IT_IS)
    assert prepared.size == (WIDTH, HEIGHT)
    assert_quarters(prepared.pixels)


def test_grey_photo_decodes(pool: DecoderPool) -> None:
    for format in ("JPEG", "PNG", "TIFF", "BMP", "GIF"):
        assert_quarters(pool.prepare(encoded(format, mode="L"), AS_IT_IS).pixels, grey=True)


def test_palette_photo_decodes(pool: DecoderPool) -> None:
    for format in ("PNG", "GIF", "BMP", "TIFF"):
        assert_quarters(pool.prepare(encoded(format, mode="P"), AS_IT_IS).pixels)


def test_cmyk_photo_decodes(pool: DecoderPool) -> None:
    assert_quarters(pool.prepare(encoded("JPEG", mode="CMYK", quality=95), AS_IT_IS).pixels, tolerance=40)


def test_transparent_pixels_show_white(pool: DecoderPool) -> None:
    rgba = np.dstack([quarters(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    rgba[:24, :32] = (255, 0, 0, 0)
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        buffer = io.BytesIO()
        Image.fromarray(rgba).save(buffer, format, **options)
        pixels = pool.prepare(buffer.getvalue(), AS_IT_IS).pixels
        assert pixels[12, 16].tolist() == [255, 255, 255], format
        assert pixels[36, 16].tolist() == [0, 0, 255], format


def test_grey_alpha_and_one_bit_photos_decode(pool: DecoderPool) -> None:
    assert_quarters(pool.prepare(encoded("PNG", mode="LA"), AS_IT_IS).pixels, grey=True)
    pixels = pool.prepare(encoded("PNG", mode="1"), AS_IT_IS).pixels
    assert set(np.unique(pixels)) == {0, 255}


def test_sixteen_bit_photo_keeps_its_brightness(pool: DecoderPool) -> None:
    levels = (np.arange(WIDTH * HEIGHT, dtype=np.uint32).reshape(HEIGHT, WIDTH) * 65535 // (WIDTH * HEIGHT)).astype(
        np.uint16
    )
    for format in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(levels).save(buffer, format)
        pixels = pool.prepare(buffer.getvalue(), AS_IT_IS).pixels
        assert np.array_equal(pixels[..., 0], (levels >> 8).astype(np.uint8)), format


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(pool: DecoderPool, orientation: int, format: str) -> None:
    upright = Image.fromarray(quarters())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the Pillow transposition that each tag value undoes
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    options = {"tiffinfo": {0x0112: orientation}} if format == "TIFF" else {"exif": exif}
    stored.save(buffer, format, quality=95, **options)
    prepared = pool.prepare(buffer.getvalue(), AS_IT_IS)
    assert prepared.size == (WIDTH, HEIGHT)
    assert_quarters(prepared.pixels)


def test_letterbox_keeps_the_original_size(pool: DecoderPool) -> None:
    prepared = pool.prepare(encoded("PNG"), Preparation(32, 32))
    assert prepared.size == (WIDTH, HEIGHT)
    assert prepared.pixels.shape == (32, 32, 3)
    assert (prepared.pixels[:4] == 128).all()  # 64x48 into 32x32 leaves four grey rows above and below


def test_sharpness_and_jpeg_quality_match_pillow(pool: DecoderPool) -> None:
    from PIL import ImageEnhance

    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    sharp = pool.prepare(buffer.getvalue(), Preparation(sharpness=1.2)).pixels
    expected = np.asarray(ImageEnhance.Sharpness(photo).enhance(1.2))
    assert np.abs(sharp.astype(int) - expected).max() <= 2
    again = pool.prepare(buffer.getvalue(), Preparation(jpeg_quality=75)).pixels
    assert 0 < np.abs(again.astype(int) - np.asarray(photo)).mean() < 60


def reason(pool: DecoderPool, photo: bytes) -> tuple[str, int]:
    with pytest.raises(PhotoError) as refused:
        pool.prepare(photo, AS_IT_IS)
    assert str(refused.value).endswith(".")
    return refused.value.reason, refused.value.status_code


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_photo_is_refused(pool: DecoderPool, format: str) -> None:
    photo = encoded(format)
    for length in (12, len(photo) // 2, len(photo) - len(photo) // 8):
        assert reason(pool, photo[:length])[1] in (400, 415), length


def test_too_many_bytes_are_refused_before_decoding(pool: DecoderPool) -> None:
    assert reason(pool, b"\xff\xd8" + bytes(8 * 1024 * 1024)) == ("IMAGE_TOO_LARGE", 413)


def test_too_many_pixels_are_refused_by_the_header(pool: DecoderPool) -> None:
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0) + b"IEND"
    assert reason(pool, bomb) == ("IMAGE_TOO_LARGE", 413)


@pytest.mark.parametrize(
    "photo", [b"", b"hello", b"<html></html>", b"%PDF-1.7", b"\x00" * 100, b"GIF", b"BM"], ids=repr
)
def test_anything_else_is_refused(pool: DecoderPool, photo: bytes) -> None:
    assert reason(pool, photo) in {("UNSUPPORTED_MEDIA_TYPE", 415), ("IMAGE_UNDECODABLE", 400)}


def test_decoder_that_was_killed_is_replaced_before_the_next_photo(pool: DecoderPool) -> None:
    decoder = pool._idle.queue[0]
    decoder._process.kill()
    decoder._process.wait()
    assert_quarters(pool.prepare(encoded("PNG"), AS_IT_IS).pixels)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_asks_the_container_to_end_spares_the_photo_under_way(number: signal.Signals) -> None:
    with DecoderPool(timeout_s=PATIENCE_S) as own:
        own.prepare(encoded("PNG"), AS_IT_IS)  # the first one has started
        decoder = own._idle.queue[0]
        os.kill(decoder._process.pid, signal.SIGSTOP)  # it gets the photo and the signal before it does anything

        def wake() -> None:
            os.kill(decoder._process.pid, number)
            os.kill(decoder._process.pid, signal.SIGCONT)

        waking = threading.Timer(0.2, wake)
        waking.start()
        assert own.prepare(encoded("PNG"), AS_IT_IS).size == (WIDTH, HEIGHT)
        waking.join()
        assert decoder._process.poll() is None


def test_photo_whose_decoder_is_killed_is_refused(pool: DecoderPool) -> None:
    decoder = pool._idle.queue[0]
    decoder._wait_ready()
    os.kill(decoder._process.pid, signal.SIGSTOP)
    killing = threading.Timer(0.2, decoder._process.kill)
    killing.start()
    assert reason(pool, encoded("PNG")) == ("IMAGE_UNDECODABLE", 400)
    killing.join()
    assert_quarters(pool.prepare(encoded("PNG"), AS_IT_IS).pixels)


def test_decoder_that_does_not_start_is_not_the_photos_fault(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = pool._idle.queue[0]
    decoder._process.kill()
    decoder._process.wait()
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert reason(pool, encoded("PNG")) == ("DECODER_UNAVAILABLE", 503)


def test_decoder_that_worked_gets_the_next_photo_and_has_the_memory_for_it() -> None:
    photos = [jpeg_of(640, 480), jpeg_of(768, 576)]
    with DecoderPool(timeout_s=PATIENCE_S) as pool:
        decoder = pool._idle.queue[0]
        for photo in photos:
            pool.prepare(photo, Preparation(416, 416))
        before = faults(decoder._process.pid)
        for photo in photos * 10:
            pool.prepare(photo, Preparation(416, 416))
            assert pool._idle.queue[0] is decoder
        pages = 10 * (640 * 480 + 768 * 576) * 3 / 4096
        assert faults(decoder._process.pid) - before < pages / 10


def jpeg_of(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(buffer, "JPEG")
    return buffer.getvalue()


def faults(pid: int) -> int:
    """Pages that a process was given so far (proc(5), stat)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_decoder_that_was_replaced_comes_last() -> None:
    with DecoderPool(timeout_s=PATIENCE_S) as pool:
        lost, spare = pool._idle.queue
        lost._wait_ready()
        os.kill(lost._process.pid, signal.SIGSTOP)
        killing = threading.Timer(0.2, lost._process.kill)
        killing.start()
        assert reason(pool, encoded("PNG")) == ("IMAGE_UNDECODABLE", 400)
        killing.join()
        assert pool._idle.queue[0] is spare
        assert_quarters(pool.prepare(encoded("PNG"), AS_IT_IS).pixels)


def test_slow_photo_is_refused_and_its_decoder_replaced() -> None:
    photo = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), dtype=np.uint8)).save(photo, "JPEG")
    with DecoderPool(timeout_s=0.01) as pool:  # its start does not count
        with pytest.raises(PhotoError) as refused:
            pool.prepare(photo.getvalue(), AS_IT_IS)
        assert (refused.value.reason, refused.value.status_code) == ("IMAGE_TOO_SLOW", 400)


def test_large_photo_retires_its_decoder() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8000, 6200), (200, 10, 10)).save(buffer, "PNG")
    with DecoderPool(timeout_s=PATIENCE_S) as pool:
        first = [decoder._process.pid for decoder in pool._idle.queue]
        for _ in first:
            prepared = pool.prepare(buffer.getvalue(), AS_IT_IS)
            assert prepared.size == (8000, 6200)
            assert prepared.pixels[6199, 7999].tolist() == [200, 10, 10]
        for _ in first:
            assert_quarters(pool.prepare(encoded("PNG"), AS_IT_IS).pixels)
        assert not {decoder._process.pid for decoder in pool._idle.queue} & {*first}


def test_decoder_outlives_the_thread_that_started_it() -> None:
    pools: list[DecoderPool] = []

    def start() -> None:
        pools.append(DecoderPool(timeout_s=PATIENCE_S))
        for decoder in pools[0]._idle.queue:
            decoder._wait_ready()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    with pools[0] as pool:
        first = {decoder._process.pid for decoder in pool._idle.queue}
        assert_quarters(pool.prepare(encoded("PNG"), AS_IT_IS).pixels)
        assert {decoder._process.pid for decoder in pool._idle.queue if decoder._process.poll() is None} == first


def test_decoders_end_with_the_process_that_started_them() -> None:
    script = (
        "from model_wrappers.intake import DecoderPool\n"
        "pool = DecoderPool()\n"
        "for decoder in pool._idle.queue:\n    decoder._wait_ready()\n"
        "print(*(decoder._process.pid for decoder in pool._idle.queue), flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    wait_until(lambda: not any(is_running(pid) for pid in pids), timeout_s=PATIENCE_S, what="the decoders' end")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_photo_that_takes_the_processor_for_seconds_is_ended_by_the_kernel() -> None:
    script = (
        "from model_wrappers.intake import worker\n"
        "worker.resource.setrlimit(worker.resource.RLIMIT_CORE, (0, 0))\n"
        "worker._allow_cpu(1)\n"
        "while True: pass\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGXCPU


def test_decoder_knows_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv(CONTAINER_VARIABLE, "uid/model")
    with DecoderPool() as pool:
        for decoder in pool._idle.queue:
            decoder._wait_ready()
            environment = Path(f"/proc/{decoder._process.pid}/environ").read_bytes()
            assert b"PATH=" in environment
            assert b"SLIPWAY_CONTAINER=uid/model" in environment
            assert b"AWS_SECRET_ACCESS_KEY" not in environment


def test_runners_mark_of_a_container_has_one_name() -> None:
    assert marks.MARK == CONTAINER_VARIABLE


def test_interrupted_photo_does_not_reach_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the first photo may be in the pipe by then."""
    with DecoderPool(timeout_s=PATIENCE_S) as pool:
        decoder = pool._idle.queue[0]
        monkeypatch.setattr(decoder, "_read", interrupt_after_ready(decoder._read))
        with pytest.raises(KeyboardInterrupt):
            pool.prepare(encoded("PNG"), Preparation(16, 16))
        assert decoder._process.poll() is not None
        for _ in range(2):
            assert_quarters(pool.prepare(encoded("PNG"), AS_IT_IS).pixels)


def interrupt_after_ready(read: Callable[[int, float], bytearray]) -> Callable[[int, float], bytearray]:
    def reading(count: int, deadline: float) -> bytearray:
        if count == REPLY.size:
            raise KeyboardInterrupt
        return read(count, deadline)

    return reading


@pytest.mark.parametrize(
    "reply",
    [
        REPLY.pack(True, False, 10, 10, 2**32 - 1, 2**32 - 1),
        REPLY.pack(True, False, 0, 10, 10, 10),
        REPLY.pack(True, False, 10, 10, 0, 10),
        REPLY.pack(False, False, 2**32 - 1, 0, 0, 0),
    ],
)
def test_answer_that_no_decoder_gives_ends_the_decoder(reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with DecoderPool(timeout_s=PATIENCE_S) as pool:
        decoder = pool._idle.queue[0]
        decoder._wait_ready()
        monkeypatch.setattr(decoder, "_read", lambda *_: bytearray(reply))
        assert reason(pool, encoded("PNG")) == ("IMAGE_UNDECODABLE", 400)
        assert decoder._process.poll() is not None


def test_pool_that_cannot_start_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def second_fails(*arguments: object, **named: object) -> subprocess.Popen[bytes]:
        if started:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(popen(*arguments, **named))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(BlockingIOError):
        DecoderPool()
    assert started[0].returncode == -signal.SIGKILL


def test_photo_that_waits_too_long_for_a_decoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_wrappers.intake.pool.WAIT_TIMEOUT_S", 0.01)
    with DecoderPool() as pool:
        lent = [pool._idle.get() for _ in range(2)]
        assert reason(pool, encoded("PNG")) == ("DECODER_UNAVAILABLE", 503)
        for decoder in lent:
            pool._idle.put(decoder)


PHOTOS = [encoded(format) for format in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    photo=st.sampled_from(PHOTOS), changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8)
)
def test_damaged_photo_is_decoded_or_refused(pool: DecoderPool, photo: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(photo)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        prepared = pool.prepare(bytes(damaged), Preparation(32, 32))
    except PhotoError as refused:
        assert 400 <= refused.status_code < 500
    else:
        assert prepared.pixels.shape == (32, 32, 3)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"GIF89a", b"II*\0", b"MM\0*"]),
    st.binary(max_size=200),
)
def test_header_of_any_bytes_is_read_or_refused(magic: bytes, rest: bytes) -> None:
    try:
        header = read_header(magic + rest)
    except PhotoError as refused:
        assert 400 <= refused.status_code < 500
    else:
        assert 0 < header.width * header.height <= 50_000_000
