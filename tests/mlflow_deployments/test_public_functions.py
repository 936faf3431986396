"""Every public function of flavour, plugin and client is called by a test with the real platform: the list is whole."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from types import ModuleType

import pytest

from tests.data import REPOSITORY
from tests.e2e.public_functions import EVERY, NO_CALL


def public_functions(module: ModuleType) -> set[str]:
    """Functions, and methods of classes, that the module offers by ``__all__`` or, without one, defines."""
    named = getattr(module, "__all__", None)
    offered = (
        {name: getattr(module, name) for name in named}
        if named is not None
        else {
            name: value
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        }
    )
    functions = {name for name, value in offered.items() if inspect.isfunction(value)}
    classes = [(name, value) for name, value in offered.items() if inspect.isclass(value)]
    return functions | {
        f"{name}.{method}"
        for name, value in classes
        for method, code in vars(value).items()
        if inspect.isfunction(code) and not method.startswith("_")
    }


@pytest.mark.parametrize("module", EVERY)
def test_every_public_function_has_a_test_with_the_platform(module: str) -> None:
    assert public_functions(import_module(module)) - NO_CALL == EVERY[module].keys()


@pytest.mark.parametrize("place", sorted({place for table in EVERY.values() for place in table.values()}))
def test_the_test_that_is_named_is_there(place: tuple[str, str]) -> None:
    file, name = place
    tree = ast.parse((REPOSITORY / "tests" / "e2e" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("module", EVERY)
def test_the_file_that_is_named_speaks_of_the_function(module: str) -> None:
    """By its name; what others call for us is called as they do."""
    called_by_others = {
        "PhotoModel.predict": "/invocations",
        "SourceFiles.in_folder": "log_model",
        "_load_pyfunc": "pyfunc.load_model",
        "parse_target": 'get_deploy_client("slipway:/',
        "target_help": 'run("help")',
        "Client.close": "with Client(",
        "AsyncClient.close": "async with AsyncClient(",
    }
    for function, (file, _) in EVERY[module].items():
        text = (REPOSITORY / "tests" / "e2e" / file).read_text()
        assert called_by_others.get(function, f"{function.rpartition('.')[2]}(") in text, function
