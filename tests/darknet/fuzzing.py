"""What fuzz tests share: files made by cutting and joining those of a corpus, and bounds on whoever reads them.

``FUZZ_EXAMPLES`` in the environment sets how many files each test tries: ``FUZZ_EXAMPLES=100000 pytest -k mutated``.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "250"))
MAX_CPU_SECONDS = 2.0  # of one file; each takes milliseconds
MAX_BYTES = 64 << 20
LONGEST = 1024  # bytes of a corpus file that mutations start from
PIECES = [
    b"-",
    b"99999999999",
    b"0",
    b"\n",
    b"=",
    b"[",
    b",",
    b"\xff",
    b"\0",
    b"nan",
    b"1e9",
    b"{",
    b"*a",
    b"&a ",
    b": ",
]


def read_bounded(read: Callable[[Path], None], path: Path, refusal: type[Exception]) -> str:
    """What ``read`` says of the file when it raises ``refusal``; empty if it accepts it. Bounded in time and memory."""
    tracemalloc.start()
    started = time.thread_time()
    try:
        read(path)
    except refusal as exc:
        return str(exc)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MAX_BYTES
        assert time.thread_time() - started < MAX_CPU_SECONDS
    return ""


@st.composite
def mutated(draw: st.DrawFn, corpus: Sequence[bytes]) -> bytes:
    """A file of the corpus with a few pieces cut, doubled, replaced, or taken from another one."""
    seeds = [seed for seed in corpus if len(seed) <= LONGEST]
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        first = draw(st.integers(0, len(data)))
        last = draw(st.integers(first, min(len(data), first + 40)))
        other = draw(st.sampled_from(seeds))
        start = draw(st.integers(0, len(other)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.binary(max_size=8),
                st.sampled_from(PIECES),
                st.just(data[first:last] * 2),
                st.just(other[start : start + 40]),
            )
        )
        data = data[:first] + piece + data[last:]
    return data
