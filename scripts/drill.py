"""``make drill`` and ``make drill-long``: every drill on the platform that ``make demo`` has started.

Short, for CI: 500 requests of each drill, so at least 2,000 under killed Pods, executors and nodes. Long: 20,000 of each, every
negative control, and 200,000 requests under rolling updates of a trivial class.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.networks import model_files
from scripts.demo import REPOSITORY, SHARED_DATA, SLIPWAY
from slipway.drill.drills import DRILLS

SHORT, LONG = 500, 20_000
CONTROL_REQUESTS = 300
ROLLING_REQUESTS = 200_000
TWICE = "overload-2"
OVERLOAD = "overload-5"
NETWORK, SIDE = "yolov3-tiny", "416x416"
PHOTOS = SHARED_DATA / "photos"
BODY_BYTES = 200_000
"""Photos below it are sent under overload: about 100 KB, as phones send them."""
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="the counts and controls that take hours")
    parser.add_argument("--only", choices=("drills", "overload", "controls", "rolling"), help="one part alone")
    arguments = parser.parse_args()
    if not PHOTOS.is_dir():
        parser.error(f"{PHOTOS}: no such folder; SLIPWAY_SHARED names the one that holds data/photos")
    with tempfile.TemporaryDirectory(prefix="slipway-drill-") as folder:
        parts = {
            "drills": lambda: drills(Path(folder), LONG if arguments.long else SHORT, is_long=arguments.long),
            "overload": lambda: overload(Path(folder)),
            "controls": lambda: controls(Path(folder)),
            "rolling": rolling,
        }
        every = parts if arguments.long else ("drills", "overload")
        chosen = [arguments.only] if arguments.only else list(every)
        broken = [problem for name in chosen for problem in timed(name, parts[name])]
    print("\n".join(f"BROKEN: {problem}" for problem in broken) or "every promise was kept")
    return 1 if broken else 0


def timed(name: str, part: Callable[[], list[str]]) -> list[str]:
    started = time.monotonic()
    problems = part()
    print(f"{name}: {time.monotonic() - started:.0f} s\n", flush=True)
    return problems


def drills(folder: Path, requests: int, *, is_long: bool) -> list[str]:
    """All but overload, which has a model of its own."""
    names = [drill.name for drill in DRILLS if not drill.name.startswith("overload")]
    rows = held(folder, PHOTOS, "--only", ",".join(names), "--requests", str(requests))
    if is_long:
        rows += held(folder, PHOTOS, "--only", f"{TWICE},{OVERLOAD}")
    return [f"{row['drill']}: {problem}" for row in rows for problem in row["problems"]]


def overload(folder: Path) -> list[str]:
    """5 times the peak of yolov3-tiny, its weights seeded random ones."""
    bodies = folder / "bodies"
    bodies.mkdir()
    for path in PHOTOS.glob("*.jpg"):
        if path.stat().st_size < BODY_BYTES:
            (bodies / path.name).symlink_to(path.resolve())
    rows = held(folder, bodies, "--only", OVERLOAD, "--model", registered(folder), "--size", SIDE)
    return [f"{row['drill']}: {problem}" for row in rows for problem in row["problems"]]


def controls(folder: Path) -> list[str]:
    """With what it relies on switched off a drill must break its promise."""
    every = [(drill.name, switch) for drill in DRILLS for switch in sorted(drill.control)]
    found = []
    for name, switch in every:
        words = ("--only", name, "--without", switch, "--requests", str(CONTROL_REQUESTS))
        (row,) = held(folder, PHOTOS, *words)
        if row["isKept"]:
            found.append(f"{name} without {switch} lost nothing: this drill shows nothing")
    return found


def rolling() -> list[str]:
    environment = {**os.environ, "SLIPWAY_ROLLING_REQUESTS": str(ROLLING_REQUESTS)}
    argv = [sys.executable, "-m", "pytest", "-s", "tests/e2e/test_rolling.py"]
    done = subprocess.run(argv, cwd=REPOSITORY, env=environment, check=False)
    return [f"{' '.join(argv[2:])}: {done.returncode}"] if done.returncode else []


def held(folder: Path, sent: Path, *words: str) -> list[Row]:
    """What ``slipway drill`` writes; CalledProcessError where it could not be held at all."""
    out = folder / "drill.json"
    out.unlink(missing_ok=True)
    argv = [str(SLIPWAY), "drill", "--photos", str(sent), "--out", str(out), *words]
    print(f"$ {' '.join(['slipway', *argv[1:]])}", flush=True)
    done = subprocess.run(argv, check=False)
    if not out.exists():
        raise subprocess.CalledProcessError(done.returncode, argv)
    rows: list[Row] = json.loads(out.read_text())["rows"]
    return rows


def registered(folder: Path) -> str:
    """``models:/yolov3-tiny/N``, registered now where it is not."""
    listed = subprocess.run([str(SLIPWAY), "model", "show", NETWORK, "--json"], capture_output=True, check=False)
    if listed.returncode:
        files = model_files(NETWORK, folder)
        given = {
            "--cfg": files.cfg_path,
            "--weights": files.weights_path,
            "--names": SHARED_DATA / "names" / "coco.names",
        }
        words = [word for flag, path in given.items() for word in (flag, str(path))]
        subprocess.run([str(SLIPWAY), "model", "register", NETWORK, *words], check=True)
    return f"models:/{NETWORK}/1"


if __name__ == "__main__":
    sys.exit(main())
