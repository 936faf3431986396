"""A router's state as one row of PostgreSQL, which all its replicas share.

A feedback is one UPDATE of that row, which PostgreSQL runs one after another: none is lost, whoever sends it. Routing reads
the copy that a thread of this process keeps, so that it never waits for the database.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  - a class, whatever psycopg2 calls it
from psycopg2.extensions import parse_dsn

from model_wrappers.routers.arms import Arm, Arms, unknown
from model_wrappers.routers.state import DSN_VARIABLE, StateAwayError

REFRESH_S = 1.0
CONNECT_TIMEOUT_S = 2  # libpq takes no less
STATEMENT_TIMEOUT_MS = 2000
CLOSE_TIMEOUT_S = 5.0
LOCK = 0x51170A  # of the table's creation: two replicas start at once

TABLE = """
create table slipway_router (
  key text primary key,
  feedbacks bigint[] not null,
  weights double precision[] not null,
  rewards double precision[] not null,
  changed_at timestamptz not null default now()
)"""
INSERT = """
insert into slipway_router (key, feedbacks, weights, rewards)
values (%(key)s, array_fill(0::bigint, array[%(count)s]), array_fill(0::float8, array[%(count)s]),
        array_fill(0::float8, array[%(count)s]))
on conflict (key) do nothing"""
SELECT = "select feedbacks, weights, rewards from slipway_router where key = %(key)s"


def _faded(column: str, added: str) -> str:
    return (
        f"{column} = (select array_agg(value * %(decay)s + case when place = %(place)s then {added} else 0 end"  # noqa: S608  - constants
        f" order by place) from unnest({column}) with ordinality as one(value, place))"
    )


UPDATE = (
    "update slipway_router set changed_at = now(), feedbacks[%(place)s] = feedbacks[%(place)s] + 1, "  # noqa: S608  - constants
    f"{_faded('weights', '1')}, {_faded('rewards', '%(reward)s')} where key = %(key)s returning feedbacks, weights, rewards"
)

logger = logging.getLogger(__name__)


def check_dsn(dsn: str) -> str:
    """``dsn`` if it is an address of PostgreSQL; the error never repeats it, there may be a password in it.

    Raises:
        ValueError: it is empty or none.
    """
    example = "postgresql://USER:PASSWORD@HOST/DATABASE, from a Secret"
    if not dsn:
        raise ValueError(f"state='postgres': the variable {DSN_VARIABLE} is missing: {example}")
    try:
        found = parse_dsn(dsn)
    except psycopg2.ProgrammingError:
        raise ValueError(f"{DSN_VARIABLE} is no address of PostgreSQL: {example}") from None
    port = found.get("port") or "5432"
    if "@" in found.get("host", "")[1:] or not port.replace(",", "").isdigit():  # libpq's own errors would show them
        raise ValueError(f"{DSN_VARIABLE}: part of the password is read as host or port: percent-encode it (@ as %40)")
    return dsn


class PostgresState:
    """The row ``key``; it is made where there is none yet."""

    def __init__(self, dsn: str, key: str, n_branches: int, *, decay: float, refresh_s: float = REFRESH_S) -> None:
        """Raises ValueError for a ``dsn`` that is none. ``refresh_s``: seconds after which others' feedback is seen."""
        self._dsn = check_dsn(dsn)
        self._key, self._decay, self._refresh_s = key, decay, refresh_s
        self.arms: Arms = unknown(n_branches)
        self._lock = threading.Lock()  # of the connection
        self._connection: Connection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="router-state", daemon=True)

    @property
    def is_reachable(self) -> bool:
        return self._connection is not None

    def start(self) -> None:
        """Connect, make table and row where they are not there, read the row and go on reading it.

        Raises:
            psycopg2.Error: the database is away, or this user may not do it.
            ValueError: the row is of another number of branches.
        """
        with self._lock:
            self._open()
        self._thread.start()

    def reward(self, branch: int, reward: float) -> None:
        """One more feedback. Where the connection broke on the way, nobody knows whether it was counted.

        Raises:
            StateAwayError: the database is away: at once where that is known, else after ``STATEMENT_TIMEOUT_MS``.
        """
        if self._connection is None:
            raise StateAwayError
        with self._lock:
            if self._connection is None:
                raise StateAwayError
            values = {"key": self._key, "place": branch + 1, "reward": reward, "decay": self._decay}
            try:
                self._take(_one_row(self._connection, UPDATE, values))
            except (psycopg2.Error, ValueError) as exc:
                self._lose(exc)
                raise StateAwayError from exc

    def close(self) -> None:
        """End the thread and the connection."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)
        with self._lock:
            self._disconnect()

    def _open(self) -> None:
        self._connection = self._connect()
        try:
            self._prepare(self._connection)
            self._read()
        except (psycopg2.Error, ValueError):
            self._disconnect()
            raise

    def _connect(self) -> Connection:
        made = psycopg2.connect(
            self._dsn,
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=STATEMENT_TIMEOUT_MS,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            application_name="slipway-router",
        )
        made.autocommit = True
        return made

    def _prepare(self, connection: Connection) -> None:
        """Table and row, in one transaction, which ends with the connection where something fails."""
        with connection.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            cursor.execute("select to_regclass('slipway_router')")
            if cursor.fetchone() == (None,):  # `if not exists` would want the right to create tables
                cursor.execute(TABLE)
            cursor.execute(INSERT, {"key": self._key, "count": len(self.arms)})
            cursor.execute("commit")

    def _follow(self) -> None:
        while not self._stop.wait(self._refresh_s):
            with self._lock:
                if self._connection is None:
                    self._reopen()
                else:
                    self._reread()

    def _reopen(self) -> None:
        try:
            self._open()
        except (psycopg2.Error, ValueError) as exc:
            logger.debug("router %s: the state is still away: %s", self._key, exc)
        else:
            logger.warning("router %s: the state is reachable again", self._key)

    def _reread(self) -> None:
        try:
            self._read()
        except (psycopg2.Error, ValueError) as exc:
            self._lose(exc)

    def _read(self) -> None:
        assert self._connection is not None  # noqa: S101  - its callers have made it
        self._take(_one_row(self._connection, SELECT, {"key": self._key}))

    def _take(self, row: tuple[Any, Any, Any] | None) -> None:
        if row is None:
            raise ValueError(f"slipway_router has no row {self._key!r} any more: it is made anew")
        feedbacks, weights, rewards = row
        if len(feedbacks) != len(self.arms):
            raise ValueError(
                f"slipway_router: row {self._key!r} is of {len(feedbacks)} branches, n_branches is {len(self.arms)}: "
                "choose another state_key"
            )
        self.arms = tuple(Arm(*one) for one in zip(feedbacks, weights, rewards, strict=True))

    def _lose(self, exc: Exception) -> None:
        logger.error("router %s: the state is away, routing goes on from what was known: %s", self._key, exc)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


def _one_row(connection: Connection, statement: str, values: dict[str, Any]) -> tuple[Any, Any, Any] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, Any, Any] | None = cursor.fetchone()
        return row
