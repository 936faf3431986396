"""What goes wrong around processes.

SupervisorError
├── PortTakenError          a port that we need answers to somebody else
└── LauncherError           a process could not be started at all
"""

from __future__ import annotations


class SupervisorError(Exception):
    """A step of the supervisor failed; the message is fit for people."""


class PortTakenError(SupervisorError):
    """``address`` is served by ``owner`` (a line naming pid and command), and ``flag`` chooses another."""

    def __init__(self, *, process: str, address: str, owner: str, flag: str | None) -> None:
        self.process, self.address, self.owner, self.flag = process, address, owner, flag
        hint = f"stop it, or choose another port with {flag}" if flag else "stop it"
        super().__init__(f"{process}: {address} is taken by {owner}: {hint}")


class LauncherError(SupervisorError):
    """``path`` is the program that could not be executed, or the log that could not be opened."""

    def __init__(self, *, process: str, path: str, cause: OSError) -> None:
        self.process, self.path = process, path
        super().__init__(f"{process}: cannot start {path}: {cause.strerror}")
