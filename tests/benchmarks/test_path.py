"""The path benchmark's own pieces: what it puts before the gateway, reads from answers and says."""

from __future__ import annotations

from benchmarks import gateway, path
from slipway.onebox.mesh.loop import site
from slipway.onebox.mesh.translate import translate

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer-Timing: image-transformer;dur=1.5, yolo-detector;dur=12.25"


def test_objects_of_the_benchmark_are_a_whole_mesh():
    mesh = translate(gateway.objects({"binary": (18000, 15001), "json": (18001, 15002)}), site("127.0.0.1", 18080))
    assert mesh.findings == ()
    ports = sorted(endpoint.port for cluster in mesh.clusters for endpoint in cluster.endpoints)
    assert ports == [15001, 15002, 18000, 18001]


def test_server_timing_is_read_by_node():
    assert path.server_timing(ANSWER) == {"image-transformer": 1.5, "yolo-detector": 12.25}
    assert path.server_timing(b"HTTP/1.1 200 OK\r\nContent-Length: 2") == {}


def test_table_judges_overhead_against_one_process():
    parts = {"gateway": 0.5, "executor": 0.5}
    found = {
        "ms": {path.ALONE: [10.0] * 100, **{way: [14.0 if way == path.RPC else 12.0] * 100 for way in path.WAYS}},
        "nodes_ms": {"image-transformer": [3.0], "yolo-detector": [7.0]},
        "cpu_ms": {path.ALONE: {path.ALONE: 9.0}, **dict.fromkeys(path.WAYS, parts)},
        "bytes": [90_000, 100_000],
    }
    facts = {"cpu": "a processor", "cores": 2, "load": 0.1, "python": "3.11", "commit": "0"}
    results = {"machine": facts, "load_after": 0.1, "threads": 2, "model": "m", "latency": found}
    lines = {line.split(" | ")[0].strip("| "): line for line in path.render(results).splitlines() if "≤" in line}
    assert lines[path.REST].endswith("| 2.00 | 2.00 | -8.00 | ≤ 3, ≤ 8 | met, met |")
    assert lines[path.RPC].endswith("| 4.00 | 4.00 | -8.00 | ≤ 3, ≤ 8 | MISSED, met |")
    assert "gateway and executor 2.00" in path.render(results)
