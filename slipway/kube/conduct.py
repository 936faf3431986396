"""How a client behaves towards its API: how often it asks, for how long it waits, what it may change, who counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway.kube.rate import Rate

REQUEST_TIMEOUT_S = 30.0
READS = frozenset({"GET", "HEAD"})
NO_ANSWER = "<error>"


@dataclass(frozen=True)
class Conduct:
    """How a client behaves towards its API.

    ``rate``: of its own requests, watches apart. ``before_write`` may raise a KubeError instead of letting anything be
    changed. ``on_answer`` hears the method and the status code, ``<error>`` where there was none. ``on_warning`` hears each
    warning that comes with an answer. ``timeout_s`` is for one request with its answer.
    """

    rate: Rate | None = None
    before_write: Callable[[], None] | None = None
    on_answer: Callable[[str, str], None] | None = None
    on_warning: Callable[[str], None] | None = None
    timeout_s: float = REQUEST_TIMEOUT_S

    async def admit(self, method: str, *, is_watch: bool) -> None:
        """Wait for this request's turn. Raises what ``before_write`` raises."""
        if self.rate is not None and not is_watch:
            await self.rate.wait()
        if self.before_write is not None and method not in READS:
            self.before_write()

    def heard(self, method: str, code: str) -> None:
        if self.on_answer is not None:
            self.on_answer(method, code)

    def warned(self, texts: Iterable[str]) -> None:
        if self.on_warning is not None:
            for text in texts:
                self.on_warning(text)


FREE = Conduct()
