"""Finds a component class, makes its one instance, and knows which hooks it has."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.microservice.error_handler import ErrorHandler
from slipway.microservice.seldon_names import advice_on, offer_seldon_names
from slipway.serving.errors import text_of

WITH_META = ("predict", "transform_input", "transform_output", "route")
"""Hooks that get the request's meta as a keyword, if their signature takes one."""


class ComponentError(Exception):
    """The component cannot be served; the text is one line for the log."""


class HookMissingError(Exception):
    """The component has no such hook, or the hook says so itself."""


@dataclass(frozen=True)
class Component:
    """The one instance of the user's class."""

    instance: Any
    name: str
    meta_hooks: frozenset[str]
    error_handler: ErrorHandler | None = None

    def has(self, hook: str) -> bool:
        return callable(getattr(self.instance, hook, None))

    def has_own(self, hook: str) -> bool:
        """Whether there is such a hook besides the one of SeldonComponent, which only says that it is not there."""
        for kind in type(self.instance).__mro__:
            if hook in vars(kind):
                return kind.__name__ != "SeldonComponent" and self.has(hook)
        return self.has(hook)

    def call(self, hook: str, *args: Any, **kwargs: Any) -> Any:
        """The hook's result; HookMissingError where it is not there or raises SeldonNotImplementedError."""
        method = getattr(self.instance, hook, None)
        if not callable(method):
            raise HookMissingError(f"{self.name} has no {hook}")
        try:
            return method(*args, **kwargs)
        except Exception as exc:
            if _says_not_implemented(exc):
                raise HookMissingError(str(exc) or f"{self.name} does not implement {hook}") from exc
            raise

    def ask(self, hook: str, otherwise: Any) -> Any:
        """``call(hook)``, or ``otherwise`` where the component has none: most have few, and each is asked for each reply."""
        if not self.has(hook):
            return otherwise
        try:
            return self.call(hook)
        except HookMissingError:
            return otherwise

    def call_with_meta(self, hook: str, features: Any, names: Any, meta: Any) -> Any:
        """``hook(features, names, meta=meta)``, without meta where the signature has no place for it."""
        if hook in self.meta_hooks:
            return self.call(hook, features, names, meta=meta)
        return self.call(hook, features, names)

    @property
    def provenance(self) -> str:
        """``name/version sha256:…`` of the model that the component says it serves; empty without one."""
        facts = getattr(self.instance, "provenance", None)
        if not isinstance(facts, Mapping) or not facts.get("name"):
            return ""
        version = f"/{facts['version']}" if facts.get("version") else ""
        return f"{facts['name']}{version} {facts.get('digest') or ''}".strip()


def _says_not_implemented(error: Exception) -> bool:
    """By name: the class may be the real package's or ours."""
    return any(kind.__name__ == "SeldonNotImplementedError" for kind in type(error).__mro__)


def split_interface(interface: str) -> tuple[str, str]:
    """``Mod`` → (Mod, Mod); ``pkg.mod.Class`` → (pkg.mod, Class)."""
    module, dot, name = interface.rpartition(".")
    return (module, name) if dot else (interface, interface)


def create_component(interface: str, parameters: Mapping[str, Any]) -> Component:
    """Import the class (the working folder counts as a source of modules) and construct it once.

    Raises ComponentError with one line that says which step failed, and where.
    """
    offer_seldon_names()
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    module_name, class_name = split_interface(interface)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:
        raise ComponentError(f"import of {module_name} failed: {one_line(exc)}{advice_on(exc)}") from exc
    made = getattr(module, class_name, None)
    if not callable(made):
        raise ComponentError(f"{interface}: module {module_name} ({_file_of(module)}) has no class {class_name}")
    try:
        instance = made(**parameters)
    except (Exception, SystemExit) as exc:
        given = ", ".join(sorted(parameters)) or "none"
        raise ComponentError(
            f"{interface}(...) failed: {one_line(exc)}; parameters given: {given}{advice_on(exc)}"
        ) from exc
    try:
        return component_of(instance)
    except (ImportError, TypeError, ValueError) as exc:
        raise ComponentError(f"{interface}.model_error_handler cannot be used: {one_line(exc)}") from exc


def component_of(instance: Any) -> Component:
    """An instance with what its hooks' signatures say. Raises what a ``model_error_handler`` that is none causes."""
    meta_hooks = frozenset(hook for hook in WITH_META if _takes_meta(getattr(instance, hook, None)))
    blueprint = getattr(instance, "model_error_handler", None)
    handler = None if blueprint is None else ErrorHandler(blueprint)
    return Component(instance, type(instance).__name__, meta_hooks, handler)


def load(component: Component) -> None:
    """Call ``load()`` if there is one; ComponentError when it fails."""
    if not component.has("load"):
        return
    try:
        component.instance.load()
    except NotImplementedError:
        return  # the contract: a load that is not implemented is no load
    except (Exception, SystemExit) as exc:
        raise ComponentError(f"{component.name}.load() failed: {one_line(exc)}") from exc


def _takes_meta(hook: Callable[..., Any] | None) -> bool:
    """From the signature: trying and catching TypeError would run a model twice whose own code raises one."""
    if not callable(hook):
        return False
    try:
        parameters = inspect.signature(hook).parameters
    except (TypeError, ValueError):
        return False  # built-in code without a signature
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = "meta" in parameters and parameters["meta"].kind in keyword
    return named or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def one_line(error: BaseException) -> str:
    """``ValueError: bad cfg (model.py:31)``: the text's first line and the innermost line of code."""
    first = (text_of(error).splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.relpath(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {first}{where}"


def _file_of(module: Any) -> str:
    return str(getattr(module, "__file__", None) or "no file")
