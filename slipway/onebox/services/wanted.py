"""What should run, as the command line last said: a file that the supervisor reads at start and at each HUP."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.secrets import write_private
from slipway.onebox.supervisor.state import UNREADABLE, load_states, tell_unreadable

# What processes keep of the caller's environment, so that no other variable of a shell changes the platform.
INHERITED = frozenset({"HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "XDG_CACHE_HOME"})
# What an installer of packages needs to reach its index.
INSTALLER = frozenset(
    {
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        *("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "XDG_CONFIG_HOME"),
    }
)
INSTALLER_PREFIXES = ("NPM_CONFIG_", "PIP_", "SSL_CERT_", "UV_", "npm_config_")


@dataclass(frozen=True)
class Wish:
    """Names of the processes that should run, and the environment of the shell that asked, cut to what is kept.

    ``number`` grows with every wish, so that an answer can say which one it is to.
    """

    names: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    number: int = 0

    @property
    def inherited(self) -> dict[str, str]:
        return {name: value for name, value in self.environment.items() if name in INHERITED}


def kept_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """The variables that any of our processes may see."""
    return {
        name: value
        for name, value in caller.items()
        if name in INHERITED or name.upper() in INSTALLER or name.startswith(INSTALLER_PREFIXES)
    }


def _file(paths: Paths) -> Path:
    return paths.run / "wanted"


def load_wish(paths: Paths) -> Wish:
    """The last wish; an empty one when nobody has asked for anything yet. Where it cannot be read, what runs is wanted."""
    try:
        content = json.loads(_file(paths).read_text())
        return Wish(frozenset(content["names"]), dict(content["environment"]), int(content["number"]))
    except FileNotFoundError:
        return Wish()
    except UNREADABLE as error:
        tell_unreadable(_file(paths), repr(error), "what runs counts as wanted: slipway up writes it anew")
        running = (name for name, state in load_states(paths.run).items() if state.is_alive)
        return Wish(frozenset(running), kept_environment(os.environ))


def save_wish(paths: Paths, names: Collection[str], environment: Mapping[str, str]) -> Wish:
    """Readable by its owner only: a proxy's address may hold a password."""
    answer = load_answer(paths)  # its number is above those of a wish that was lost
    number = max(load_wish(paths).number, answer.number if answer else 0) + 1
    wish = Wish(frozenset(names), dict(environment), number)
    content = {"names": sorted(names), "environment": wish.environment, "number": wish.number}
    write_private(_file(paths), json.dumps(content))
    return wish


@dataclass(frozen=True)
class Answer:
    """What the supervisor made of a wish: the fingerprint of every process it knows."""

    number: int
    fingerprints: Mapping[str, str]


def load_answer(paths: Paths) -> Answer | None:
    """None where there is none that can be read: the supervisor writes one for each wish."""
    file = paths.run / "answer"
    try:
        content = json.loads(file.read_text())
        return Answer(int(content["number"]), dict(content["fingerprints"]))
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        tell_unreadable(file, repr(error), "the supervisor's next answer replaces it")
        return None


def save_answer(paths: Paths, answer: Answer) -> None:
    write_private(paths.run / "answer", json.dumps(asdict(answer)))
