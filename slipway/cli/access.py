"""``slipway access``: the gateway's access log, from both Envoys, as one."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import click

from slipway.cli.access_lines import Entry, Wanted, parse_line, render_entries, row
from slipway.cli.columns import render_columns
from slipway.cli.objects import NotReady
from slipway.cli.usage import NAMESPACE
from slipway.contract.following import parse_duration_s
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.limits import ACCESS_LOG_BYTES
from slipway.onebox.paths import Paths

DEFAULT_LINES = 50
MAX_LINES = 100_000
"""Held in memory at once, to be sorted."""
POLL_S = 0.2
MAX_LINE_BYTES = 64 * 1024
"""Longer is no line of ours: method, path and headers are cut at a few KiB."""


@click.command("access")
@click.argument("name", required=False)
@click.option("--predictor", metavar="NAME", help="Only what this predictor answered.")
@click.option(
    "--status", metavar="CODE", help="Only this status: 503, or 5xx for all of them; 499 for clients that left."
)
@click.option("--reason", metavar="REASON", help="Only errors of this reason, such as UPSTREAM_TIMEOUT.")
@click.option("--since", metavar="DURATION", help="Only of the last 30s, 5m, 2h.")
@click.option(
    "--tail",
    default=DEFAULT_LINES,
    show_default=True,
    type=click.IntRange(0, MAX_LINES),
    help="How many, the last ones.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with those that come; an Envoy writes once a second.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with every key of the log.")
@click.option("-n", "--namespace", type=NAMESPACE, help="Only of SeldonDeployments in it (default: of all).")
def access_command(
    name: str | None,
    predictor: str | None,
    status: str | None,
    reason: str | None,
    since: str | None,
    tail: int,
    namespace: str | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the requests that came through this machine's gateway, the last one at the end.

    NAME is a SeldonDeployment; without one everything is shown, also what met no route. RETRIES counts the attempts
    after the first, POD is who answered last, VERSION the predictor's label `version`. CODE 499 and REASON CLIENT_CLOSED:
    the client left before it was answered; with another CODE, in the middle of the answer. Bodies, queries and other
    headers are not written down. The files are SLIPWAY_HOME/logs/access-*.log, 32 MiB each, with one older one.

    \b
    Examples:
      slipway access yolo
      slipway access yolo --status 5xx --since 10m
      slipway access yolo --predictor canary -f
      slipway access --reason CLIENT_CLOSED
      slipway access --json --tail 1000 | jq -s 'map(.duration_ms) | max'
    """  # noqa: D301  - click reads the backspace character
    if status is not None and not re.fullmatch(r"[1-5](\d\d|[xX]{2})", status):
        raise click.UsageError(f"--status: {status!r} is neither a code such as 503 nor a class such as 5xx")
    try:
        begin = _stamp(parse_duration_s(since)) if since else ""
    except ValueError as exc:
        raise click.UsageError(f"--since: {exc}") from exc
    wanted = Wanted(name, namespace, predictor, status, reason, begin)
    logs = [Layout(Paths.from_env()).access_log(index) for index in ENVOYS]
    if not any(log.exists() for log in logs):
        raise NotReady(f"{logs[0]}: there is no access log: `slipway up` starts the gateway; on a cluster ask Istio's")
    ends = {log: log.stat().st_size if log.exists() else 0 for log in logs}
    found = last_entries(ends, wanted, tail)
    if as_json:
        for entry in found:
            click.echo(json.dumps(entry))
    elif found or not follow:
        click.echo(render_entries(found))
    if follow:
        for entry in follow_entries(ends, wanted):
            click.echo(json.dumps(entry) if as_json else render_columns([row(entry)]))


def last_entries(ends: Mapping[Path, int], wanted: Wanted, count: int) -> list[Entry]:
    """The last ``count`` by time, oldest first, from the files up to ``ends`` and the older ones beside them."""
    old = {log.with_name(f"{log.name}.1"): ACCESS_LOG_BYTES * 2 for log in ends}
    lines = itertools.chain.from_iterable(_lines(path, end) for path, end in {**old, **ends}.items())
    entries = (entry for entry in map(parse_line, lines) if entry is not None and wanted.takes(entry))
    return heapq.nlargest(count, entries, key=lambda entry: str(entry["time"]))[::-1]


def follow_entries(ends: Mapping[Path, int], wanted: Wanted) -> Iterator[Entry]:
    """Those written after ``ends`` (bytes of each file), for ever; a file that was rotated is read to its end first."""
    tails = [_Tail(log, end) for log, end in ends.items()]
    try:
        while True:
            fresh = [entry for tail in tails for entry in map(parse_line, tail.read()) if entry is not None]
            yield from sorted(filter(wanted.takes, fresh), key=lambda entry: str(entry["time"]))
            if not fresh:
                time.sleep(POLL_S)
    finally:
        for tail in tails:
            tail.close()


class _Tail:
    """The whole lines that were added to a file since the last look."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._rest = b""
        self._file: IO[bytes] | None = None
        self._open(position)

    def read(self) -> list[str]:
        is_rotated = self._was_rotated()  # asked first: what was written until then is still to be read
        if self._file is None:
            self._open(0)
            return []
        parts = (self._rest + self._file.read(MAX_LINE_BYTES)).split(b"\n")
        self._rest = parts.pop()[-MAX_LINE_BYTES:]
        if not parts and is_rotated:
            self.close()
            self._open(0)
        return [part.decode(errors="replace") for part in parts]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self, position: int) -> None:
        self._rest = b""
        self._file = self._path.open("rb") if self._path.exists() else None
        if self._file is not None:
            self._file.seek(position)

    def _was_rotated(self) -> bool:
        if self._file is None or not self._path.exists():
            return False
        return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino


def _lines(path: Path, end: int) -> Iterator[str]:
    if path.exists():
        with path.open("rb") as file:
            while file.tell() < end and (line := file.readline(MAX_LINE_BYTES)):
                yield line.decode(errors="replace")


def _stamp(seconds: float) -> str:
    """The time so many seconds ago, as Envoy writes it."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
