"""What the hub allows at most; docs/hub.md has the same table."""

from __future__ import annotations

MAX_SERVERS = 10
"""Servers at a time: each takes some 150 MB before a model is loaded."""
MAX_STARTING = 3
IDLE_S = 3600
CULL_EVERY_S = 300
START_WITHIN_S = 1800
"""The first start of a profile installs it."""
ANSWER_WITHIN_S = 90
MIN_PASSWORD = 10
MAX_PASSWORD_BYTES = 72
"""bcrypt's limit: a longer one is refused, not cut."""
FAILED_LOGINS = 5
LOCKED_OUT_S = 300
MAX_ACCOUNTS = 200
"""Accounts and requests for one: nobody can fill the database by signing up."""
STOP_STEP_S = 6
"""A server is asked by SIGINT, then by SIGTERM, then killed: two steps are shorter than the hub's own grace."""
