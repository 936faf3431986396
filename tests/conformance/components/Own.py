"""A class that keeps what is of its thread alone, and answers with values that JSON does not have."""

import asyncio
import datetime as dt
import decimal
import signal
import sqlite3
import uuid

import numpy as np

NOON = dt.datetime(2020, 2, 29, 12, 30, 15, 999)  # noqa: DTZ001  - as classes make them
VALUES = {
    "datetime": NOON,
    "aware": NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))),
    "date": NOON.date(),
    "uuid": uuid.UUID(int=1),
    "decimal": decimal.Decimal("1.50"),
    "nested": [{"when": NOON}],
}
ARRAYS = {
    "days": np.array([["2020-02-29", "1999-12-31"]], dtype="datetime64[D]"),
    "seconds": np.array(["2020-02-29T12:30:15"], dtype="datetime64[s]"),
}


async def _later(value):
    await asyncio.sleep(0)
    return value


class Own:
    def __init__(self):
        self.made = sqlite3.connect(":memory:")

    def load(self):
        self.loaded = sqlite3.connect(":memory:")
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def predict(self, X, names):
        for one in (self.made, self.loaded):
            one.execute("select 1")
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        answer = ARRAYS[X] if X in ARRAYS else {"value": VALUES[X]}
        return asyncio.get_event_loop().run_until_complete(_later(answer))
