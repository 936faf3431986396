"""A real PostgreSQL on a Unix socket, which tests may stop and start again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from slipway.onebox.services.postgres import NOBODY, USER, binary, run_as_argv
from tests.waiting import wait_until

START_TIMEOUT_S = 30.0


class PostgresServer:
    """``dsn`` is its address. PostgreSQL's sockets need a short path: it makes its own folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
            os.chown(data, NOBODY, NOBODY)
        words = [f"--username={USER}", "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync"]
        self._run(str(binary("initdb")), "-D", str(data), *words)

    @property
    def dsn(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self.folder}"

    def _run(self, *argv: str) -> None:
        subprocess.run([*run_as_argv(os.getuid()), *argv], check=True, capture_output=True)

    def start(self) -> None:
        argv = [*run_as_argv(os.getuid()), str(binary("postgres")), "-D", str(self.folder / "data")]
        argv += ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(self._answers, timeout_s=START_TIMEOUT_S, what="PostgreSQL")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.dsn).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """At once, as in a crash."""
        if self._process is not None:
            self._process.send_signal(3)  # QUIT: "immediate"
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
