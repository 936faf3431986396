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

from benchmarks.networks import at_side, write_sparing_weights
from scripts.demo import REPOSITORY, SHARED_DATA, SLIPWAY
from slipway.drill.drills import DRILLS, Drill, OverloadDrill

SHORT, LONG = 500, 20_000
CONTROL_REQUESTS = 300
ROLLING_REQUESTS = 200_000
TWICE = "overload-2"
OVERLOAD = "overload-5"
NETWORK, SIDE = "yolov3-tiny", "416x416"
MODEL = f"drill-{NETWORK}"
PHOTOS = SHARED_DATA / "photos"
BODY_BYTES = 200_000
"""Photos below it are sent under overload: about 100 KB, as phones send them."""
OF_TIME = ("longest gap", "recovery", "99 % of refusals", "goodput", "the peak", "the generator", "live p99")
"""Beginnings of broken promises about time."""
HARMED = ("lost", "goodput", "99 % of refusals", "recovery")
"""Beginnings of what overload does where nothing is limited."""
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="the counts and controls that take hours")
    parser.add_argument("--only", choices=("drills", "overload", "controls", "rolling"), help="one part alone")
    parser.add_argument(
        "--late-is-told",
        action="store_true",
        help="broken promises about time alone are printed, and the exit code is 0: on machines that others use, too",
    )
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
        rows = [row for name in chosen for row in timed(name, parts[name])]
    print(as_markdown(rows))
    lines, is_broken = verdict(rows, late_is_told=arguments.late_is_told)
    print("\n".join(lines))
    return 1 if is_broken else 0


def verdict(rows: list[Row], *, late_is_told: bool) -> tuple[list[str], bool]:
    """A line for each broken promise, and whether they count."""
    broken = [(row["drill"], problem) for row in rows for problem in row["problems"]]
    counting = [one for one in broken if not (late_is_told and is_of_time(one[1]))]
    lines = [f"{'BROKEN' if one in counting else 'LATE'}: {': '.join(one)}" for one in broken]
    return lines or ["every promise was kept"], bool(counting)


def is_of_time(problem: str) -> bool:
    return problem.startswith(OF_TIME)


def timed(name: str, part: Callable[[], list[Row]]) -> list[Row]:
    started = time.monotonic()
    rows = part()
    print(f"{name}: {time.monotonic() - started:.0f} s, load of the machine {os.getloadavg()[0]:.1f}\n", flush=True)
    return rows


def as_markdown(rows: list[Row]) -> str:
    """README's table."""
    what = {drill.name: drill.what.partition(";")[0] for drill in DRILLS}
    head = ("drill", "done to it", "sent", "lost", "wrong", "p50 ms", "p99 ms", "longest gap s")
    lines = [head, tuple("---" for _ in head)]
    for row in rows:
        counts = (f"{row[name]:,}" for name in ("acts", "sent", "lost", "wrong"))
        times = (f"{row['p50Ms']:,.0f}", f"{row['p99Ms']:,.0f}", f"{row['gapS']:.2f}")
        name = str(row["drill"])
        lines.append((what.get(name, name), *counts, *times))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def drills(folder: Path, requests: int, *, is_long: bool) -> list[Row]:
    """All but overload, which has a model of its own."""
    names = [drill.name for drill in DRILLS if not drill.name.startswith("overload")]
    counts = ("--requests", str(requests))
    rows = with_second_looks(folder, PHOTOS, held(folder, PHOTOS, "--only", ",".join(names), *counts), *counts)
    if is_long:
        rows += held(folder, PHOTOS, "--only", f"{TWICE},{OVERLOAD}")
    return rows


def overload(folder: Path) -> list[Row]:
    """5 times the peak of yolov3-tiny, its weights seeded random ones."""
    bodies = folder / "bodies"
    bodies.mkdir()
    for path in PHOTOS.glob("*.jpg"):
        if path.stat().st_size < BODY_BYTES:
            (bodies / path.name).symlink_to(path.resolve())
    words = ("--model", registered(folder), "--size", SIDE)
    return with_second_looks(folder, bodies, held(folder, bodies, "--only", OVERLOAD, *words), *words)


def with_second_looks(folder: Path, sent: Path, rows: list[Row], *words: str) -> list[Row]:
    """What only came late is held once more, as the rest of a machine makes everything late; both rows are shown.

    What was lost, wrong, refused or not mirrored counts at once.
    """
    found: list[Row] = []
    for row in rows:
        if row["problems"] and all(map(is_of_time, row["problems"])):
            found.append({**row, "problems": []})
            found += held(folder, sent, "--only", row["drill"], *words)
        else:
            found.append(row)
    return found


def controls(folder: Path) -> list[Row]:
    """With what it relies on switched off a drill must lose; what only comes late, as on any busy machine, shows nothing."""
    found: list[Row] = []
    for drill in DRILLS:
        switches = ",".join(sorted(drill.control))
        words = ("--only", drill.name, "--without", switches, "--requests", str(CONTROL_REQUESTS))
        (row,) = held(folder, PHOTOS, *words)
        not_held = [problem for problem in row["problems"] if problem.startswith("not held")]
        shown = [] if has_lost(drill, row) else not_held or ["it loses nothing all the same: this drill shows nothing"]
        found.append({**row, "drill": f"{drill.name} without {switches}", "problems": shown})
    return found


def has_lost(drill: Drill | OverloadDrill, row: Row) -> bool:
    """Or, under overload, has come late: not that the generator was too slow, or the machine busy afterwards.

    What was lost before anything was done was not well to begin with, and shows nothing.
    """
    harmed = any(problem.startswith(HARMED) for problem in row["problems"])
    return harmed if isinstance(drill, OverloadDrill) else row["lost"] > row["lostBefore"]


def rolling() -> list[Row]:
    """The test has rows of its own; CalledProcessError where it fails."""
    environment = {**os.environ, "SLIPWAY_ROLLING_REQUESTS": str(ROLLING_REQUESTS)}
    argv = [sys.executable, "-m", "pytest", "-s", "tests/e2e/test_rolling.py"]
    subprocess.run(argv, cwd=REPOSITORY, env=environment, check=True)
    return []


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
    """``models:/drill-yolov3-tiny/1``, registered now where it is not."""
    listed = subprocess.run([str(SLIPWAY), "model", "show", MODEL, "--json"], capture_output=True, check=False)
    if listed.returncode:
        cfg, weights = at_side(NETWORK, folder), folder / f"{NETWORK}.weights"
        write_sparing_weights(weights, cfg)
        files = {"--cfg": cfg, "--weights": weights, "--names": SHARED_DATA / "names" / "coco.names"}
        words = [word for flag, path in files.items() for word in (flag, str(path))]
        subprocess.run([str(SLIPWAY), "model", "register", MODEL, *words], check=True)
    return f"models:/{MODEL}/1"


if __name__ == "__main__":
    sys.exit(main())
