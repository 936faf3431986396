"""Several descriptor pools as one, for gRPC reflection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import descriptor_pool


class JoinedPools:
    """Protobuf's default pool and others; the first that knows a name answers."""

    def __init__(self, pools: Iterable[Any]) -> None:
        self._pools = (descriptor_pool.Default(), *pools)

    def FindFileByName(self, name: str) -> Any:  # noqa: N802 - a DescriptorPool's
        return self._first(lambda pool: pool.FindFileByName(name), name)

    def FindFileContainingSymbol(self, name: str) -> Any:  # noqa: N802 - as above
        return self._first(lambda pool: pool.FindFileContainingSymbol(name), name)

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: N802 - as above
        return self._first(lambda pool: pool.FindMessageTypeByName(name), name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:  # noqa: N802 - as above
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:  # noqa: N802 - as above
        return message.file.pool.FindAllExtensions(message)

    def _first(self, find: Callable[[Any], Any], name: str) -> Any:
        for pool in self._pools:
            try:
                return find(pool)
            except KeyError:
                continue
        raise KeyError(name)


def joined_pools(extra: Any) -> Any:
    """The default pool, with ``extra`` behind it unless that is None."""
    return descriptor_pool.Default() if extra is None else JoinedPools([extra])
