"""helm commands of a page agree with the table of helm-values/README.md: repositories, charts, versions, names, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs.commands import Command, option, options
from tests.helm_values.charts import Chart

FLAGS = {
    "repo": set(),
    "upgrade": {
        "--install",
        "--version",
        "-n",
        "--namespace",
        "--create-namespace",
        "-f",
        "--values",
        "--set",
        "--wait",
    },
    "rollback": {"-n", "--namespace", "--wait"},
    "history": {"-n", "--namespace"},
    "uninstall": {"-n", "--namespace", "--wait"},
    "show": {"--version"},
}
"""helm.sh/docs/helm, version 3.14 to 4: Helm is not on the machine where this was written."""


def complain(
    command: Command, charts: Mapping[str, Chart], repositories: Mapping[str, str], *, repository: Path
) -> Iterator[str]:
    verb, *rest = command.words[1:]
    if verb not in FLAGS:
        yield f"{command}: helm {verb} is not among {', '.join(FLAGS)}"
        return
    flags = {word.partition("=")[0] for word in rest if word.startswith("-")}
    yield from (f"{command}: helm {verb} has no flag {flag}" for flag in sorted(flags - FLAGS[verb]))
    if verb == "repo" and rest[0] == "add" and repositories.get(rest[1]) != rest[2]:
        yield f"{command}: helm-values/README.md has {repositories.get(rest[1])} for {rest[1]}"
    if verb == "upgrade":
        yield from _complain_of_upgrade(command, charts, repository=repository)
    if verb in ("rollback", "history", "uninstall"):
        yield from _complain_of_release(command, rest[0], charts)


def _complain_of_upgrade(command: Command, charts: Mapping[str, Chart], *, repository: Path) -> Iterator[str]:
    words = [word for word in command.words[2:] if word != "--install"]
    release, path = words[0], words[1]
    chart = charts.get(path.partition("/")[2])
    if chart is None:
        yield f"{command}: helm-values/README.md has no chart {path}"
        return
    given = {
        "release": release,
        "repository": path.partition("/")[0],
        "version": option(command.words, "--version"),
        "namespace": option(command.words, "-n", "--namespace"),
    }
    for name, value in given.items():
        if value != getattr(chart, name):
            yield f"{command}: {name} {value!r}, but helm-values/README.md has {getattr(chart, name)!r}"
    yield from _complain_of_values(command, chart, repository=repository)


def _complain_of_values(command: Command, chart: Chart, *, repository: Path) -> Iterator[str]:
    files = [repository / name for name in options(command.words, "-f", "--values")]
    yield from (f"{command}: {path.name} does not exist" for path in files if not path.is_file())
    if missing := [path.name for path in chart.files if path not in files]:
        yield f"{command}: without {', '.join(missing)}, which helm-values/README.md has for {chart.name}"


def _complain_of_release(command: Command, release: str, charts: Mapping[str, Chart]) -> Iterator[str]:
    namespace = option(command.words, "-n", "--namespace")
    if (release, namespace) not in {(chart.release, chart.namespace) for chart in charts.values()}:
        yield f"{command}: helm-values/README.md has no release {release} in {namespace or 'no namespace'}"
