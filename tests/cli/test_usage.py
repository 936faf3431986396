"""A command line that is wrong whatever there is ends with 2, before anything is asked: for every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.cli.usage import WRONG_USE, Kustomization
from tests.cli.every_command import EVERY

FILES = ("--cfg", __file__, "--weights", __file__, "--names", __file__)
WRONG: tuple[tuple[tuple[str, ...], str], ...] = (
    (("access", "--status", "abc"), "neither a code such as 503"),
    (("access", "--since", "soon"), "write 90s, 30m or 2h"),
    (("access", "-n", "Blue_1"), "a namespace's name has"),
    (("apply", "-f", "/nowhere.yaml"), "'/nowhere.yaml' does not exist"),
    (("apply", "-k", "/nowhere"), "there is no such folder"),
    (("backup", "/nowhere/file"), "/nowhere: no such folder"),
    (("check", "/nowhere"), "'/nowhere' does not exist"),
    (("crd", "install", "--controller-id", "a b"), "at most 63 letters"),
    (("delete", "pod"), "say what to delete"),
    (("delete", "pod/"), "say what to delete"),
    (("delete", "-f", "/nowhere.yaml"), "'/nowhere.yaml' does not exist"),
    (("describe", "pod"), "say which"),
    (("describe", "pod/"), "say which"),
    (("doctor", "--context", "nowhere"), "no kubeconfig: set KUBECONFIG"),
    (("doctor",), "no kubeconfig: set KUBECONFIG"),
    (("doctor", "-n", "Blue_1"), "a namespace's name has"),
    (("down", "nothing"), "nothing"),
    (("drill", "--photos", "/nowhere"), "'/nowhere' does not exist"),
    (("drill", "--size", "big"), "such as 416x416"),
    (("get", "pods/"), "say which"),
    (("get", "pods"), "no kubeconfig: set KUBECONFIG"),
    (("hub", "remove", "Bad User"), "a user's name begins with a-z"),
    (("image", "build", "Not A Name"), "'Not A Name' is not an image name"),
    (("image", "build", f"me/it@sha256:{'0' * 64}"), "it is not chosen"),
    (("image", "context", "Not A Name", "x"), "'Not A Name' is not an image name"),
    (("image", "context", "me/it:1", "x", "--label", "x"), "KEY=VALUE is needed"),
    (("image", "delete", "Not A Name"), "'Not A Name' is not an image name"),
    (("logs", "pod/"), "say which"),
    (("model", "alias", "a@b", "champion", "3"), "is not a registered model"),
    (("model", "alias", "yolo", "my alias", "3"), "is not a registered model"),
    (("model", "alias", "yolo", "champion", "x"), "is not a registered model"),
    (("model", "promote", "a@b", "3"), "is not a registered model"),
    (("model", "promote", "yolo", "x"), "is not a registered model"),
    (("model", "promote", "yolo", "3", "--alias", "my alias"), "is not a registered model"),
    (("model", "register", "a/b", *FILES), "a/b: "),
    (("model", "register", "yolo", *FILES, "--alias", "my alias"), "alias"),
    (("model", "register", "yolo", *FILES, "--tag", "x"), "write KEY=VALUE"),
    (("plan", "-f", "/nowhere.yaml"), "'/nowhere.yaml' does not exist"),
    (("plan", "-k", "/nowhere"), "there is no such folder"),
    (("render", "-f", "/nowhere.yaml"), "'/nowhere.yaml' does not exist"),
    (("render", "-f", __file__, "-n", "Blue_1"), "a namespace's name has"),
    (("render", "-f", __file__, "--plain"), "say how requests come in"),
    (("render", "-f", __file__, "--plain", "--host", "a b"), "a host is a DNS name"),
    (("render", "-f", __file__, "--plain", "--route", "ingress", "--of", "a b"), "the name of an IngressClass"),
    (("render", "-f", __file__, "--plain", "--route", "httproute", "--of", "x"), "--of NAMESPACE/NAME"),
    (("restore", "/nowhere"), "'/nowhere' does not exist"),
    (("rollback", "yolo", "-n", "Blue_1"), "a namespace's name has"),
    (("split", "yolo", "--for", "soon"), "write 90s, 30m or 2h"),
    (("tenant", "add", "Blue_1"), "a team's name is its namespace"),
    (("tenant", "add", "kube-system"), "the platform's own"),
    (("tenant", "add", "blue", "--quota", "pods"), "write NAME=AMOUNT"),
    (("tenant", "add", "blue", "--quota", "pods=many"), "'many' is no amount"),
    (("tenant", "list"), "no kubeconfig: set KUBECONFIG"),
    (("tenant", "remove", "Blue_1", "--yes"), "a team's name is its namespace"),
    (("top", "--every", "0"), "0.5<=x<=3600.0"),
    (("up", "--api-port", "0"), "--api-port"),
)
LOOKED_UP = "whether there is one is looked up"
JUDGED: dict[tuple[str, str], str] = {
    **dict.fromkeys([("access", "NAME"), ("access", "--predictor"), ("access", "--reason")], LOOKED_UP),
    **dict.fromkeys([("drill", "--model"), ("drill", "--next-model")], LOOKED_UP),
    **dict.fromkeys([("get", "NAME"), ("get", "--selector"), ("describe", "WHAT"), ("delete", "NAMES")], LOOKED_UP),
    **dict.fromkeys([("logs", "--container"), ("split", "NAME"), ("rollback", "NAME")], LOOKED_UP),
    **dict.fromkeys([("rollback", "--predictor"), ("rollback", "--to-version")], LOOKED_UP),
    **dict.fromkeys([("model pull", "NAME"), ("model show", "NAME"), ("model register", "--split")], LOOKED_UP),
    ("model pull", "--from"): "an address that answers or does not",
    **dict.fromkeys(
        [(command, option) for command in ("model promote", "rollback") for option in ("--why", "--who")], "free text"
    ),
    ("model register", "--licence"): "free text",
    **dict.fromkeys([("tenant add", "--user"), ("tenant add", "--group")], "whatever the API's log-in calls people"),
}
"""Values of which no form is wrong → who judges them."""


def slipway(*words: str, home: Path) -> tuple[int, str]:
    """On a machine where nothing was ever started: its exit code and all that it said."""
    env = dict.fromkeys(("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "MLFLOW_TRACKING_URI"))
    done = CliRunner().invoke(main, words, env={**env, "SLIPWAY_HOME": str(home / "none"), "HOME": str(home)})
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("words", "said"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_wrong_use_ends_with_2_and_says_what_is_right(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, output = slipway(*words, home=tmp_path)
    assert code == WRONG_USE, output
    assert said in output
    assert "Traceback" not in output


def free_values() -> Iterator[tuple[str, str]]:
    """Every argument and option that takes any text as far as click is concerned, by its command."""
    for words, command in EVERY.items():
        for item in command.params:
            if isinstance(item.type, click.types.StringParamType):
                yield " ".join(words), item.opts[-1].upper() if isinstance(item, click.Argument) else item.opts[-1]


def test_every_free_value_is_in_the_table_or_judged_by_somebody() -> None:
    """A table row names an option; an argument is shown by a row of its command."""
    shown = {
        (" ".join(words[: len(name)]), word)
        for words, _ in WRONG
        for name in EVERY
        if name and words[: len(name)] == name
        for word in (*words, "NAME", "POD", "WHAT", "PARTS", "VERSION", "ALIAS")
    }
    values = set(free_values())
    assert values - shown - JUDGED.keys() == set()
    assert JUDGED.keys() <= values, "a value that no command takes"


@pytest.mark.parametrize(
    "address", ["https://example.org/a?ref=1", "github.com/me/it//base", "git@github.com:me/it.git"]
)
def test_what_kubectl_fetches_is_no_folder_that_must_be_there(address: str) -> None:
    assert Kustomization().convert(address, None, None) == address


@pytest.mark.parametrize("folder", ["/nowhere", "nowhere", "./no.where", "../no/such.d", "a/b.c"])
def test_folder_that_is_not_there_is_refused(folder: str) -> None:
    with pytest.raises(click.BadParameter, match="no such folder"):
        Kustomization().convert(folder, None, None)
