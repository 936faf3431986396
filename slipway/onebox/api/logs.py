"""The log sub-resource: lines of the files that the runner writes, each ``<RFC 3339 time> stdout|stderr F <text>``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slipway.contract.causes import Cause
from slipway.onebox.api.columns import get
from slipway.onebox.api.errors import bad_request, invalid
from slipway.onebox.api.followed_log import FollowedLog
from slipway.onebox.api.target import parse_int
from slipway.onebox.paths import Paths

MAX_TAIL_LINES = 100_000
FOLLOW_PAUSE_S = 0.2
"""Between looks at a followed file: only while somebody follows."""


@dataclass(frozen=True)
class LogOptions:
    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


def parse_log_options(query: Mapping[str, str], *, pod: str) -> LogOptions:
    """Refused 400 for what is no number or time, 422 for numbers out of range."""
    causes = []
    numbers = {name: parse_int(query[name]) for name in ("tailLines", "limitBytes", "sinceSeconds") if query.get(name)}
    for name, least, words in (
        ("tailLines", 0, "greater than or equal to 0"),
        ("limitBytes", 1, "greater than 0"),
        ("sinceSeconds", 1, "greater than 0"),
    ):
        if name in numbers and numbers[name] < least:
            causes.append(Cause(name, f"Invalid value: {numbers[name]}: must be {words}"))
    since = _since_time(query["sinceTime"]) if query.get("sinceTime") else None
    if since is not None and "sinceSeconds" in numbers:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("[]", message, "FieldValueForbidden"))
    if causes:
        raise invalid("PodLogOptions", "", pod, causes)
    if "sinceSeconds" in numbers:
        since = datetime.now(UTC) - timedelta(seconds=min(numbers["sinceSeconds"], 10**9))
    return LogOptions(
        query.get("container", ""),
        query.get("follow") in ("true", "1"),
        query.get("previous") in ("true", "1"),
        query.get("timestamps") in ("true", "1"),
        numbers.get("tailLines"),
        numbers.get("limitBytes"),
        since,
    )


def _since_time(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as exc:
        message = f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"'
        raise bad_request(message) from exc
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def chosen_container(pod: Mapping[str, Any], options: LogOptions) -> str:
    """The container whose log is asked for. Refused 400 with the choices."""
    name = pod["metadata"]["name"]
    main = [container["name"] for container in get(pod, "spec.containers", [])]
    init = [container["name"] for container in get(pod, "spec.initContainers", [])]
    if options.container:
        if options.container not in (*main, *init):
            raise bad_request(f"container {options.container} is not valid for pod {name}")
        return options.container
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if len(main) == 1:
        return str(main[0])
    if default in main:
        return str(default)
    choices = f"[{' '.join(main)}]" + (f" or one of the init containers: [{' '.join(init)}]" if init else "")
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: {choices}")


def log_file(paths: Paths, pod: Mapping[str, Any], container: str, options: LogOptions) -> Path:
    """The file of the current or the previous run. Refused 400 where there is none."""
    meta = pod["metadata"]
    statuses = [*get(pod, "status.initContainerStatuses", []), *get(pod, "status.containerStatuses", [])]
    status: Mapping[str, Any] = next((status for status in statuses if status.get("name") == container), {})
    folder = paths.container_log(meta["namespace"], meta["name"], meta["uid"], container=container, restart=0).parent
    runs = sorted(int(path.stem) for path in folder.glob("*.log") if path.stem.isdigit()) if folder.is_dir() else []
    if options.previous:
        if len(runs) < 2:
            raise bad_request(f'previous terminated container "{container}" in pod "{meta["name"]}" not found')
        run = runs[-2]
    elif runs:
        run = runs[-1]
    else:
        reason = get(status, "state.waiting.reason", "ContainerCreating")
        raise bad_request(f'container "{container}" in pod "{meta["name"]}" is waiting to start: {reason}')
    return paths.container_log(meta["namespace"], meta["name"], meta["uid"], container=container, restart=run)


def render_line(line: bytes, options: LogOptions) -> bytes | None:
    """One stored line as the client sees it; None where it is older than asked."""
    stamp, _, rest = line.partition(b" ")
    _stream, _, rest = rest.partition(b" ")
    flag, _, text = rest.partition(b" ")
    if options.since is not None:
        try:
            if datetime.fromisoformat(stamp.decode()) < options.since:
                return None
        except ValueError:
            return None
    end = b"" if flag == b"P" else b"\n"
    return (stamp + b" " if options.timestamps else b"") + text + end


def _rendered(lines: Iterable[bytes], options: LogOptions) -> Iterator[bytes]:
    for line in lines:
        shown = render_line(line.rstrip(b"\n"), options)
        if shown is not None:
            yield shown


async def read_log(path: Path, options: LogOptions, *, is_over: asyncio.Event) -> AsyncIterator[bytes]:
    """Chunks of the log; with ``follow`` until ``is_over`` is set and the log is read to its end."""
    left = options.limit_bytes
    with FollowedLog(path) as log:
        if options.tail_lines is not None:
            keep = deque(_rendered(log.present_lines(), options), maxlen=min(options.tail_lines, MAX_TAIL_LINES))
            first = b"".join(keep)
            yield first if left is None else first[:left]
            left = None if left is None else left - len(first)
        while left is None or left > 0:
            ended = is_over.is_set()
            lines = log.next_lines() if options.follow else log.lines()
            chunk = b"".join(_rendered(lines, options))
            if chunk:
                yield chunk if left is None else chunk[:left]
                left = None if left is None else left - len(chunk)
            if not lines:
                if not options.follow or ended:
                    return
                await asyncio.sleep(FOLLOW_PAUSE_S)
