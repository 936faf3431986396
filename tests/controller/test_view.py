"""What the controller takes to exist between its own write and the reflector's news of it."""

from __future__ import annotations

from typing import Any, cast

from slipway.controller.view import View
from slipway.kube.kinds import DEPLOYMENT, Kind
from slipway.kube.reflector import Change, Reflector

HERE = ("team", "iris")
CHANGED = [Change(DEPLOYMENT, *HERE)]


class Known:
    """Stands for a reflector whose news come when the test says so."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {}

    def objects(self, _kind: Kind) -> dict[tuple[str, str], dict[str, Any]]:
        return self.found


def made(version: str) -> dict[str, Any]:
    return {"metadata": {"name": "iris", "namespace": "team", "resourceVersion": version}}


def view_of(known: Known) -> View:
    return View(cast("Reflector", known))


def names(view: View) -> set[str]:
    return set(view.objects(DEPLOYMENT, "team"))


def test_own_write_counts_until_the_reflector_has_it() -> None:
    known = Known()
    view = view_of(known)
    view.wrote(DEPLOYMENT, *HERE, made("5"))
    assert names(view) == {"iris"}
    known.found[HERE] = made("6")
    assert view.objects(DEPLOYMENT, "team")["iris"]["metadata"]["resourceVersion"] == "6"


def test_what_was_made_and_at_once_removed_by_another_is_missing() -> None:
    known = Known()
    view = view_of(known)
    view.wrote(DEPLOYMENT, *HERE, made("5"))
    view.heard(CHANGED)  # of the making and the removal together: the reflector is as it was
    assert names(view) == set()


def test_own_removal_counts_until_the_reflector_has_it() -> None:
    known = Known()
    known.found[HERE] = made("5")
    view = view_of(known)
    view.wrote(DEPLOYMENT, *HERE, None)
    assert names(view) == set()
    view.heard(CHANGED)
    assert names(view) == {"iris"}  # made again by another under the version that was known: it is there
