"""``slipway check``: whether manifests can be applied, before anything is, and without anything running."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from slipway.cli.check_api import OfflineApi
from slipway.cli.check_files import ManifestSet, Problem, Tree, load_tree
from slipway.cli.check_findings import Finding, Report, in_order, render_report
from slipway.cli.check_mesh import mesh_problems
from slipway.cli.check_references import KnowsImage, references
from slipway.cli.check_world import World, generated, namespace_of
from slipway.cli.objects import kustomize
from slipway.onebox.images.build import find_repository
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.spec import find_image_folder

FAILED = 1
Object = dict[str, Any]


@click.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="DIR|FILE…", type=click.Path(exists=True, path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check_command(paths: tuple[Path, ...], output: str, *, strict: bool) -> None:
    """Check every manifest below DIR, offline: nothing needs to run, and nothing is asked of a network.

    Kustomizations are rendered as kubectl does; files that none of them uses are taken as they are. Each finding has its
    file and line. Errors: what the API would refuse (schema, the rules of SeldonDeployments, traffic that does not sum
    to 100; the objects that are made of them too), the same object twice, images of this project that no image.yaml makes, images without a tag or with
    `latest`, selectors that match nothing, autoscaling by a percentage of resources that nobody requests, keys that a
    Secret or ConfigMap does not have, what the mesh would not carry out (keys, issuers, regular expressions, ports and
    subsets that are none), a DIR or FILE without any manifest. Warnings: what only a cluster's Istio carries out, fields without effect, kinds not known here, and what is referred to and
    nothing in DIR makes (it may be there already). The controller is taken to be the one that `slipway up` starts.

    Exit codes: 0 no errors (with --strict: no warnings either), 1 some, 2 wrong usage.

    \b
    Examples:
      slipway check seldon
      slipway check seldon istio training --strict
      slipway check seldon/overlays/canary -o json | jq '.findings[].message'
    """  # noqa: D301  - click reads the backspace character
    report = check(paths)
    click.echo(json.dumps(report.as_json(), indent=2) if output == "json" else render_report(report))
    if report.errors or (strict and report.warnings):
        sys.exit(FAILED)


def check(paths: Sequence[Path]) -> Report:
    """Everything that is to be said of the manifests below ``paths``."""
    tree = load_tree(paths, render=lambda folder: asyncio.run(kustomize(folder)))
    repository = find_repository(paths[0] if paths[0].is_dir() else paths[0].parent)
    findings = [*tree.findings, *_findings(tree, knows_image=lambda name: _has_image(name, repository))]
    count = sum(len(group.objects) for group in tree.sets) + len(tree.images)
    return Report(in_order(findings), count, tree.kustomizations, tuple(sorted(tree.others)))


def _findings(tree: Tree, *, knows_image: KnowsImage) -> list[Finding]:
    """References are followed from and to what the API takes: of the rest it is said why not."""
    found: list[Finding] = []
    world = World()
    accepted: list[ManifestSet] = []
    with OfflineApi() as api:
        for group in _applied_together(tree):
            problems = list(api.review(group.objects))
            refused = {id(obj) for obj, problem in problems if problem.is_error}
            problems += [pair for obj in group.objects if id(obj) not in refused for pair in _made(obj, api)]
            found += [tree.finding(group.origin, obj, problem) for obj, problem in problems]
            world.partial |= {namespace_of(obj) for obj in group.objects if id(obj) in refused}
            accepted.append(ManifestSet(group.origin, tuple(obj for obj in group.objects if id(obj) not in refused)))
    for group in accepted:
        for obj in group.objects:
            world.add(obj)
    for group in accepted:
        problems = [(obj, item) for obj in group.objects for item in references(obj, world, knows_image=knows_image)]
        problems += mesh_problems(group.objects, world)
        found += [tree.finding(group.origin, obj, problem) for obj, problem in problems]
    return found


def _made(obj: Object, api: OfflineApi) -> Iterator[tuple[Object, Problem]]:
    """What the API would refuse or warn of in the objects that the controller makes of a SeldonDeployment."""
    for item, problem in api.review(generated(obj)):
        text = f"the {item['kind']} {item['metadata']['name']} that is made of it: {problem.field}: {problem.message}"
        yield obj, Problem("", text, is_error=problem.is_error)


def _applied_together(tree: Tree) -> list[ManifestSet]:
    """Files that no kustomization uses are one set."""
    loose = tuple(obj for group in tree.sets if group.origin is None for obj in group.objects)
    return [ManifestSet(None, loose), *(group for group in tree.sets if group.origin)]


def _has_image(name: str, repository: Path) -> bool:
    try:
        find_image_folder(name, repository)
    except ImageError:
        return False
    return True
