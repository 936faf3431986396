"""Reads untyped YAML or JSON into typed values; an error names the field and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
MAX_SHOWN = 60


class FieldError(ValueError):
    """A value of the wrong shape. ``path`` is the field as Kubernetes writes it: ``spec.predictors[1].traffic``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True)
class Fields:
    """One mapping and where it stands. An absent field and ``null`` are the same, as in the Kubernetes API."""

    values: Mapping[str, Any]
    path: str

    @classmethod
    def of(cls, value: Any, path: str) -> Fields:
        if not isinstance(value, Mapping):
            raise FieldError(path, f"{shown(value)} is not an object")
        return cls(value, path)

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def text(self, key: str, default: str = "") -> str:
        return self._typed(key, str, "a text", default)

    def required_text(self, key: str) -> str:
        if not (value := self.text(key)):
            raise FieldError(self.at(key), "is required")
        return value

    def flag(self, key: str) -> bool:
        return self._typed(key, bool, "true or false", default=False)

    def whole(self, key: str) -> int | None:
        """A whole number that fits 32 bits, as every number of this kind does."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not -(2**31) <= value < 2**31:
            raise FieldError(self.at(key), f"{shown(value)} is not a whole number of 32 bits")
        return value

    def mapping(self, key: str) -> dict[str, Any] | None:
        value = self.values.get(key)
        return None if value is None else dict(Fields.of(value, self.at(key)).values)

    def texts(self, key: str) -> dict[str, str]:
        """A map from text to text: labels, annotations."""
        found = self.mapping(key) or {}
        for name, value in found.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise FieldError(f"{self.at(key)}[{name}]", f"{shown(value)} is not a text")
        return found

    def child(self, key: str) -> Fields | None:
        value = self.values.get(key)
        return None if value is None else Fields.of(value, self.at(key))

    def required_child(self, key: str) -> Fields:
        if (child := self.child(key)) is None:
            raise FieldError(self.at(key), "is required")
        return child

    def items(self, key: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """Each element read by ``read(value, path)``."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise FieldError(self.at(key), f"{shown(value)} is not a list")
        return tuple(read(item, f"{self.at(key)}[{index}]") for index, item in enumerate(value))

    def _typed(self, key: str, kind: type[T], words: str, default: T) -> T:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise FieldError(self.at(key), f"{shown(value)} is not {words}")
        return value


def read_object(value: Any, path: str) -> dict[str, Any]:
    """An element that is kept as it is, but must be an object."""
    return dict(Fields.of(value, path).values)


def read_text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise FieldError(path, f"{shown(value)} is not a text")
    return value


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` less what is None, empty or False: the JSON form leaves out what is absent."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {}, False)}


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
