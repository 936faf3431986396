"""A proof as a page: plain HTML, one file beside its pictures, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from model_wrappers.darknet.proof import GoldenPhoto, Proof, render_json
from model_wrappers.darknet.timing import TOLERANCE, EngineTiming

REPORT_NAME = "report.html"
JSON_NAME = "proof.json"
_STYLE = """
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
 table { border-collapse: collapse; margin: .5rem 0 1.5rem } td, th { padding: .2rem .8rem .2rem 0; text-align: left;
 border-bottom: 1px solid #ddd; vertical-align: top } td.number { text-align: right; font-variant-numeric: tabular-nums }
 img { max-width: 100%; height: auto } code { overflow-wrap: anywhere } .bad { color: #b00 }
"""


def write_proof(proof: Proof, folder: Path) -> None:
    """``report.html``, ``proof.json`` and ``photo-<n>.jpg`` into ``folder``, which is made."""
    folder.mkdir(parents=True)
    (folder / REPORT_NAME).write_text(render_report(proof))
    (folder / JSON_NAME).write_text(render_json(proof))
    for number, photo in enumerate(proof.photos, start=1):
        (folder / picture_name(number)).write_bytes(photo.picture)


def picture_name(number: int) -> str:
    return f"photo-{number}.jpg"


def render_report(proof: Proof) -> str:
    """The page."""
    cfg = next(iter(proof.digests))
    body = [
        f"<h1>{escape(cfg)}</h1>",
        _facts(proof),
        "<h2>Engines</h2>",
        _engines(proof),
        "<h2>Photos</h2>",
        "".join(_photo(number, photo) for number, photo in enumerate(proof.photos, start=1))
        or "<p>None were given.</p>",
        "<h2>Layers</h2>",
        _layers(proof),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(cfg)}: proof</title>'
        f"<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def _facts(proof: Proof) -> str:
    summary, worst = proof.summary, proof.worst
    parity = f"{len(proof.layers)} layers on {proof.compared_on}; the worst, {worst.index} [{worst.kind}], differs by "
    parity += f"{worst.difference:.1e} of its largest value; allowed {TOLERANCE:g}"
    rows = [
        ("strict load", "passed: every byte of the weights is one that the cfg implies"),
        ("parity", parity),
        ("engine", f"{proof.engine}, the fastest within tolerance"),
        ("input", f"{summary.width} x {summary.height}, {summary.classes} classes: {', '.join(summary.names)}"),
        ("layers", f"{summary.layers}, of them {summary.convolutions} convolutions; {summary.floats:,} floats"),
        ("weights", f"{summary.weights_bytes:,} bytes, version {summary.version}, seen {summary.seen:,}"),
        ("licence", proof.licence or "not stated"),
        ("machine", f"{proof.machine}; {proof.threads} threads"),
        *((f"SHA-256 of {name}", digest) for name, digest in proof.digests.items()),
    ]
    return _table((), ((escape(key), f"<code>{escape(text)}</code>") for key, text in rows))


def _engines(proof: Proof) -> str:
    order = sorted(proof.timings, key=lambda timing: (not timing.is_usable, timing.milliseconds))
    return _table(("engine", "version", "median ms", "rounds", "difference", ""), (_engine(timing) for timing in order))


def _engine(timing: EngineTiming) -> tuple[str, ...]:
    if timing.problem:
        return escape(timing.engine), "", "", "", "", f'<span class="bad">{escape(timing.problem)}</span>'
    fault = "" if timing.is_usable else '<span class="bad">differs too much</span>'
    numbers = f"{timing.milliseconds:.2f}", str(timing.rounds), f"{timing.difference:.1e}"
    return escape(timing.engine), escape(timing.version), *numbers, fault


def _photo(number: int, photo: GoldenPhoto) -> str:
    title = f"{escape(photo.name)}: {len(photo.detections)} detections"
    rows = (
        (escape(one.label), f"{one.confidence:.1%}", *(f"{side:.1f}" for side in vars(one.box).values()))
        for one in photo.detections
    )
    table = _table(("label", "confidence", "x min", "y min", "x max", "y max"), rows)
    return f'<h3>{title}</h3><img src="{picture_name(number)}" alt="{title}">{table}'


def _layers(proof: Proof) -> str:
    rows = (
        (str(layer.index), layer.kind, " x ".join(map(str, layer.shape)), f"{layer.difference:.1e}")
        for layer in proof.layers
    )
    table = _table(("layer", "kind", "channels x rows x columns", "difference"), rows)
    return f"<details><summary>{len(proof.layers)} layers</summary>{table}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>\n" if head else ""
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{top}{body}</table>"
