"""A component's ``model_error_handler``, a Flask blueprint (contract 4.4): its answers to the component's exceptions.

Flask is the component's own: it made the blueprint with it. Only error handlers count, over REST; paths of the
blueprint are not served.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HandlerAnswer:
    """What a handler said."""

    status: int
    content_type: str
    body: bytes


class ErrorHandler:
    """The blueprint in an application of its own, which serves nothing."""

    def __init__(self, blueprint: Any) -> None:
        """Raises what Flask raises for something that is no blueprint."""
        flask = importlib.import_module("flask")
        if not isinstance(blueprint, flask.Blueprint):
            raise TypeError(f"model_error_handler is {type(blueprint).__name__}, not a Flask blueprint")
        self._app = flask.Flask(__name__)
        self._app.register_blueprint(blueprint)

    def answer(self, error: Exception) -> HandlerAnswer | None:
        """The answer of the handler that is registered for this class of error; None without one.

        Raises what the handler raises.
        """
        with self._app.test_request_context():
            try:
                said = self._app.make_response(self._app.handle_user_exception(error))
            except type(error) as raised:
                if raised is error:
                    return None
                raise
            return HandlerAnswer(said.status_code, said.mimetype, said.get_data())
