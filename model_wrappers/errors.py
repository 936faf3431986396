"""What a component answers when a request cannot be served: the microservice reads ``status_code`` and ``reason``."""

from __future__ import annotations


class ComponentError(Exception):
    """A refused request. ``status_code`` is HTTP's, ``reason`` a machine code, ``str()`` one sentence for people."""

    def __init__(self, message: str, *, reason: str, status_code: int = 400) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.reason = reason
