"""A proof as a page: one HTML file with its pictures inside, no scripts, nothing fetched.

MLflow shows an HTML artifact in a frame of its own, where the files beside it have no address: hence the pictures as data.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.int8_trial import describe
from model_wrappers.darknet.proof import LAYERS_NOTE, GoldenPhoto, LayerParity, Proof, render_json
from model_wrappers.darknet.timing import TOLERANCE, EngineTiming, ranked
from model_wrappers.labels import colour_of

REPORT_NAME = "report.html"
JSON_NAME = "proof.json"
SMALLEST_DIFFERENCE = 1e-9  # where the bars of the layer table begin, on a logarithmic scale
SMALLEST_BAR = 0.005  # of its cell, so that it can be seen
_STYLE = """
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1.5rem; color: #1f2933;
  background: #fff }
 h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem } p { margin: .3rem 0 .8rem }
 .passed { display: inline-block; margin-left: .8rem; padding: .1rem .7rem; border-radius: 1rem; background: #e3f6ea;
  color: #17683a; font-size: .9rem; font-weight: 600; vertical-align: middle }
 .facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .7rem; margin: 1rem 0 }
 .facts div { border: 1px solid #dde3ea; border-radius: .5rem; padding: .6rem .8rem }
 .facts b { display: block; font-size: 1.15rem } .facts span, .quiet { color: #5b6977; font-size: .87rem }
 table { border-collapse: collapse; width: 100%; font-size: .92rem } th { color: #5b6977; font-weight: 500 }
 td, th { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #e6ebf0; vertical-align: top }
 .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
 .bar { min-width: 4rem; width: 30% } .bar i { display: block; height: .7rem; margin-top: .4rem; border-radius: .2rem;
  background: #9fb4c9 } .chosen .bar i { background: #2f9e62 } .chosen td:first-child { font-weight: 600 }
 .bad { color: #b42318 } code { font-size: .87rem; overflow-wrap: anywhere }
 figure { margin: 0 0 1.5rem; display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1.2rem }
 figure img { width: 100%; border-radius: .4rem } figcaption { overflow-x: auto }
 figcaption td, figcaption th { white-space: nowrap; padding-right: .6rem }
 .swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .4rem }
 .scroll { max-height: 28rem; overflow-y: auto; border: 1px solid #dde3ea; border-radius: .5rem; padding: 0 .8rem }
 @media (max-width: 60rem) { figure { grid-template-columns: 1fr } }
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
    cfg = escape(next(iter(proof.digests)))
    body = [
        f'<h1>{cfg}<span class="passed">proof passed</span></h1>',
        _classes(proof.summary.names),
        _facts(proof),
        "<h2>Engines</h2>",
        _quiet(f"{proof.machine}; {proof.threads} threads. Medians of interleaved runs of the network alone."),
        _engines(proof),
        _quiet(describe(proof.int8)),
        "<h2>Photos</h2>",
        "".join(_photo(photo) for photo in proof.photos) or "<p>None were given.</p>",
        "<h2>Layers</h2>",
        _quiet(
            f"max|a - b| / max|a| of a plain forward pass and the compiled graph, on {proof.compared_on}: at most "
            f"{TOLERANCE:g} is allowed, which would fill the bar (logarithmic, from 1e-9). {LAYERS_NOTE}"
        ),
        _layers(proof.layers),
        "<h2>Files</h2>",
        _files(proof),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{cfg}: proof</title>'
        f"<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def _classes(names: Sequence[str]) -> str:
    return f'<details class="quiet"><summary>{len(names)} classes</summary>{escape(", ".join(names))}</details>'


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _facts(proof: Proof) -> str:
    summary, worst = proof.summary, proof.worst
    chosen = next(timing for timing in proof.timings if timing.engine == proof.engine)
    facts = (
        ("strict load", "passed", "every byte of the weights is one that the cfg implies"),
        ("parity", f"{worst.difference:.1e}", f"worst of {len(proof.layers)} layers: {worst.index} [{worst.kind}]"),
        ("engine", proof.engine, f"{chosen.milliseconds:.2f} ms a photo, the fastest within tolerance"),
        (
            "input",
            f"{summary.width} x {summary.height}",
            f"{summary.layers} layers, {summary.convolutions} convolutions",
        ),
        ("weights", f"{summary.weights_bytes:,} bytes", f"version {summary.version}, seen {summary.seen:,} pictures"),
        ("licence", proof.licence or "not stated", "of the weights"),
    )
    tiles = (
        f"<div><span>{title}</span><b>{escape(value)}</b><span>{escape(more)}</span></div>"
        for title, value, more in facts
    )
    return f'<div class="facts">{"".join(tiles)}</div>'


def _engines(proof: Proof) -> str:
    rest = sorted((timing for timing in proof.timings if not timing.is_usable), key=lambda timing: timing.milliseconds)
    order = (*ranked(proof.timings), *rest)
    slowest = max(timing.milliseconds for timing in order)
    columns = (TEXT("engine"), TEXT("version"), BAR(""), NUMBER("median ms"), NUMBER("rounds"), NUMBER("difference"))
    rows = (_engine(timing, proof, slowest) for timing in order)
    styles = ("chosen" if timing.engine == proof.engine else "" for timing in order)
    return _table((*columns, TEXT("")), rows, styles)


def _engine(timing: EngineTiming, proof: Proof, slowest: float) -> tuple[str, ...]:
    name, version = escape(timing.engine), escape(timing.version)
    if timing.problem:
        return name, version, "", "", "", "", f'<span class="bad">{escape(timing.problem)}</span>'
    numbers = f"{timing.milliseconds:.2f}", str(timing.rounds), f"{timing.difference:.1e}"
    return name, version, _bar(timing.milliseconds / slowest if slowest else 0), *numbers, _remark(timing, proof)


def _remark(timing: EngineTiming, proof: Proof) -> str:
    remarks = ["chosen by auto"] if timing.engine == proof.engine else []
    if timing.map_loss is not None:
        remarks.append(f"mAP loss {timing.map_loss:.4f}")
    elif not timing.is_usable:
        remarks.append('<span class="bad">differs too much</span>')
    return ", ".join(remarks)


def _photo(photo: GoldenPhoto) -> str:
    size = f"{photo.size.width} x {photo.size.height}, {len(photo.detections)} detections"
    source = f"data:image/jpeg;base64,{base64.b64encode(photo.picture).decode()}"
    sides = (NUMBER(side) for side in ("x min", "y min", "x max", "y max"))
    table = _table((TEXT("label"), NUMBER("confidence"), *sides), (_detection(one) for one in photo.detections))
    return (
        f'<figure><img src="{source}" alt="{escape(photo.name)} with its boxes"><figcaption><b>{escape(photo.name)}</b> '
        f'<span class="quiet">{size}</span>{table}</figcaption></figure>'
    )


def _detection(one: Detection) -> tuple[str, ...]:
    colour = ",".join(map(str, colour_of(one.label)))
    label = f'<span class="swatch" style="background:rgb({colour})"></span>{escape(one.label)}'
    return label, f"{one.confidence:.1%}", *(f"{side:.0f}" for side in vars(one.box).values())


def _layers(layers: Sequence[LayerParity]) -> str:
    columns = (NUMBER("layer"), TEXT("kind"), NUMBER("channels x rows x columns"), BAR(""), NUMBER("difference"))
    return f'<div class="scroll">{_table(columns, (_layer(layer) for layer in layers))}</div>'


def _layer(layer: LayerParity) -> tuple[str, ...]:
    decades = math.log10(TOLERANCE / SMALLEST_DIFFERENCE)
    share = 1 + math.log10(max(layer.difference, SMALLEST_DIFFERENCE) / TOLERANCE) / decades
    shape = " x ".join(map(str, layer.shape))
    return str(layer.index), layer.kind, shape, _bar(share), f"{layer.difference:.1e}"


def _files(proof: Proof) -> str:
    rows = ((escape(name), f"<code>{digest}</code>") for name, digest in proof.digests.items())
    return _table((TEXT("file"), TEXT("SHA-256")), rows)


def _bar(share: float) -> str:
    """A bar as long as ``share``, 0 to 1, of its cell."""
    return f'<i style="width:{min(max(share, SMALLEST_BAR), 1):.1%}"></i>'


class Column(NamedTuple):
    """``style`` is the class of its cells."""

    title: str
    style: str


TEXT, NUMBER, BAR = (partial(Column, style=style) for style in ("text", "number", "bar"))


def _table(columns: Sequence[Column], rows: Iterable[Sequence[str]], styles: Iterable[str] = ()) -> str:
    """``rows`` of HTML cells, a class for each of them where ``styles`` are given."""
    top = _row([column.title for column in columns], columns, tag="th")
    lines = (_row(cells, columns, style=style or "") for cells, style in zip_longest(rows, styles))
    return f"<table>{top}\n" + "\n".join(lines) + "</table>"


def _row(cells: Sequence[str], columns: Sequence[Column], *, tag: str = "td", style: str = "") -> str:
    line = "".join(f'<{tag} class="{column.style}">{cell}</{tag}>' for cell, column in zip(cells, columns, strict=True))
    return f'<tr class="{style}">{line}</tr>' if style else f"<tr>{line}</tr>"
