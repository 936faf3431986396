"""What the hub allows at most; docs/hub.md has the same table."""

from __future__ import annotations

MAX_SERVERS = 10
"""Servers at a time: each takes some 150 MB before a model is loaded."""
MAX_STARTING = 3
MAX_MEMORY_BYTES = 4 << 30
"""Of one server with its kernels and all they start (PSS)."""
MAX_PROCESSES = 2000
"""Processes and threads of one hub user, as root: a fork bomb is that user's own."""
KILLED_FIRST = 500
"""Added to a server's oom_score_adj: where the machine runs out of memory, notebooks end before what is served."""
IDLE_S = 3600
CULL_EVERY_S = 300
START_WITHIN_S = 1800
"""The first start of a profile installs it."""
GIVE_UP_WITHIN_S = 10
"""A preparation that is broken off ends what it started, such as pip."""
END_WITHIN_S = 12
ANSWER_WITHIN_S = 90
MIN_PASSWORD = 10
MAX_PASSWORD_BYTES = 72
"""bcrypt's limit: a longer one is refused, not cut."""
FAILED_LOGINS = 5
LOCKED_OUT_S = 300
MAX_ACCOUNTS = 200
"""Accounts and requests for one: nobody can fill the database by signing up."""
SHUT_OUT_WITHIN_S = 60
"""So often the hub asks again whether somebody who is logged in may still be."""
STOP_STEP_S = 6
"""A server is asked by SIGINT, then by SIGTERM, then killed: two steps are shorter than the hub's own grace."""
