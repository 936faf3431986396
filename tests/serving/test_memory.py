"""A process that served large bodies is small again."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from slipway.serving.memory import return_large_blocks

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

assert return_large_blocks()
start = resident_mib()
for size in range(1, 13):
    blocks = [bytes(b"x") * (size * 2**20) for _ in range(8)]
    pins = [bytes(1000) for _ in range(100)]  # small ones above them on the heap
    del blocks
print(resident_mib() - start)
"""


BODIES = """
import resource
from slipway.serving.memory import return_large_blocks

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

assert return_large_blocks()
SIZE = 700_000
def serve():
    bodies = [bytearray(SIZE) for _ in range(4)]  # as it came, in parts, as text, decoded

serve()
start = faults()
for _ in range(100):
    serve()
print(faults() - start)
"""


FREE = """
import resource
from slipway.serving.memory import return_free_memory

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

start = resident_mib()
blocks = [bytes(b"x") * 60_000 for _ in range(1000)]
last = bytes(b"x") * 60_000  # above them on the heap
del blocks
return_free_memory()
print(resident_mib() - start)
"""


def test_large_blocks_go_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4


def test_memory_of_one_body_serves_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", BODIES], capture_output=True, text=True, check=True)
    pages = 100 * 4 * 700_000 / 4096
    assert int(done.stdout) < pages / 10


def test_free_memory_below_what_is_used_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4
