from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from model_wrappers import mlflow_darknet, photo
from model_wrappers.darknet import WeightsError, compiler
from model_wrappers.darknet.boxes import Box, Detection
from model_wrappers.darknet.check import NetworkSummary
from model_wrappers.darknet.draw import draw
from model_wrappers.darknet.errors import EngineError, ProofError
from model_wrappers.darknet.layers import Shape
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.proof import MAX_PHOTOS, NOISE, GoldenPhoto, LayerParity, Proof, prove, render_json
from model_wrappers.darknet.proof_report import render_report, write_proof
from model_wrappers.darknet.proof_summary import MAX_NAMES, MAX_SUMMARY_CHARACTERS, render_summary
from model_wrappers.darknet.timing import WRONG, EngineTiming
from model_wrappers.intake.errors import PhotoError
from model_wrappers.intake.header import MAX_PHOTO_BYTES
from model_wrappers.model_identity import folder_digest
from model_wrappers.yolo_detector import YoloDetector
from tests.darknet.networks import CELL, write_handmade_model
from tests.data import SHARED_DATA

FOUND = Detection("red <&>", 0, 0.9871, Box(1.0, 2.0, 30.5, 40.0))
PROOF = Proof(
    summary=NetworkSummary(64, 64, 2, ("red <&>", "green"), 2, 1, 21511, 86064, "0.2.5", 7),
    licence="Apache-2.0",
    digests={"cells.cfg": "ab" * 32, "cells.weights": "cd" * 32, "cells.names": "ef" * 32},
    layers=(
        LayerParity(0, "convolutional", Shape(7, 2, 2), 2.5e-7),
        LayerParity(1, "yolo", Shape(7, 2, 2), 2.5e-7),
    ),
    timings=(
        EngineTiming("onnxruntime", "1.2", 3.25, 20, 1e-7),
        EngineTiming("openvino", "2026", 1.5, 20, 0.25),
        EngineTiming("onnxruntime-int8", "1.2", 1.25, 20, 0.03, map_loss=0.0041),
        EngineTiming("darknet", problem="layer 3: activation=mish <x>"),
    ),
    threads=2,
    machine="a CPU, Linux x86_64",
    photos=(GoldenPhoto("red.png", "12" * 32, Size(64, 48), (FOUND,), b"jpeg"),),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_handmade_model(tmp_path / "model")
    picture = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    picture[:CELL, :CELL, 2] = 255  # OpenCV writes blue, green, red
    cv2.imwrite(str(folder / "red.png"), picture)
    return folder


def _files(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "cells.cfg", folder / "cells.weights", folder / "cells.names"


def test_golden_report(golden: Callable[[str, str], None]) -> None:
    golden("report.html", render_report(PROOF))


def test_golden_summary(golden: Callable[[str, str], None]) -> None:
    golden("summary.md", render_summary(PROOF, report="[report](#/here)"))


def test_summary_of_a_large_proof_ends_at_its_limit() -> None:
    names = tuple(f"{number} {'x' * 200}" for number in range(1000))
    large = dataclasses.replace(
        PROOF,
        summary=dataclasses.replace(PROOF.summary, names=names, classes=1000),
        photos=(dataclasses.replace(PROOF.photos[0], name="n" * 255),) * MAX_PHOTOS,
        licence="*" * 10_000,
    )
    text = render_summary(large, report="r")
    assert len(text) == MAX_SUMMARY_CHARACTERS
    assert text.endswith("n…\n\nAll of it, with the photos: r\n")
    assert f"and {1000 - MAX_NAMES} more" in text
    assert "**" not in text.replace("**Proved**", "").replace("**onnxruntime**", "")


def test_report_fetches_nothing_and_says_what_its_layers_are_of() -> None:
    page = render_report(PROOF)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert base64.b64encode(b"jpeg").decode() in page
    assert "compiled graph with every layer as an output" in page
    assert json.loads(render_json(PROOF))["layers_note"] in page


def test_report_of_no_photo_and_no_licence_says_so() -> None:
    page = render_report(dataclasses.replace(PROOF, photos=(), licence=""))
    assert "None were given." in page
    assert "not stated" in page


def test_prove_compares_times_and_looks(folder: Path, tmp_path: Path) -> None:
    names = ["onnxruntime", "opencv"]
    proof = prove(*_files(folder), photos=[folder / "red.png"], licence="MIT", threads=1, engines=names)
    assert [layer.kind for layer in proof.layers] == ["convolutional", "yolo"]
    assert 0 <= proof.worst.difference < 1e-6
    assert {timing.engine for timing in proof.timings if timing.is_usable} == set(names)
    assert proof.engine in names
    assert proof.digests["cells.weights"] == hashlib.sha256((folder / "cells.weights").read_bytes()).hexdigest()
    write_proof(proof, tmp_path / "proof")
    document = json.loads((tmp_path / "proof" / "proof.json").read_text())
    (photo,) = document["photos"]
    assert [one["label"] for one in photo["detections"]] == ["red"]
    assert document["licence"] == "MIT"
    picture = cv2.imread(str(tmp_path / "proof" / "photo-1.jpg"))
    assert picture.shape == (2 * CELL, 2 * CELL, 3)


def test_prove_without_photos_compares_on_noise(folder: Path) -> None:
    assert prove(*_files(folder), threads=1, engines=["onnxruntime"]).compared_on == NOISE


def test_prove_reads_each_photo_once_and_names_the_one_that_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = photo.read, []
    monkeypatch.setattr(photo, "read", lambda path: asked.append(path) or read(path))
    photos = [folder / "red.png", folder / "red.png"]
    proof = prove(*_files(folder), photos=photos, threads=1, engines=["onnxruntime"])
    assert asked == photos
    assert proof.photos[0].sha256 == hashlib.sha256((folder / "red.png").read_bytes()).hexdigest()
    with pytest.raises(PhotoError, match=r"cells\.cfg: The \d+ bytes are no JPEG"):
        prove(*_files(folder), photos=[folder / "red.png", folder / "cells.cfg"], threads=1)
    with pytest.raises(FileNotFoundError):
        prove(*_files(folder), photos=[folder / "gone.png"], threads=1)


def test_prove_reads_no_more_than_a_photo_may_have(folder: Path) -> None:
    with (folder / "large.png").open("wb") as file:
        file.truncate(MAX_PHOTO_BYTES + 1)
    with pytest.raises(PhotoError, match=r"large\.png: is larger than 8,388,608 bytes") as refused:
        prove(*_files(folder), photos=[folder / "large.png"], threads=1)
    assert refused.value.status_code == 413


def test_prove_refuses_a_graph_that_computes_something_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = compiler.fold_batch_norm
    monkeypatch.setattr(compiler, "fold_batch_norm", lambda found: (fold(found)[0], fold(found)[1] + 1))
    with pytest.raises(ProofError, match=r"cells\.cfg: layer 0 \[convolutional\]: the compiled graph differs"):
        prove(*_files(folder), threads=1)


def test_prove_refuses_a_model_that_no_engine_runs_right(folder: Path) -> None:
    with pytest.raises(EngineError, match="no engine computes this model"):
        prove(*_files(folder), threads=1, engines=["caffe"])


def test_prove_measures_no_loss_without_labelled_photos(folder: Path) -> None:
    with pytest.raises(ProofError, match=r"int8_max_loss=0\.01: a loss is measured on labelled photos"):
        prove(*_files(folder), threads=1, int8_max_loss=0.01)


def test_prove_refuses_two_files_of_one_name(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "cells.cfg"
    weights.write_bytes((folder / "cells.weights").read_bytes())
    with pytest.raises(ProofError, match=r"cells\.cfg, .*cells\.cfg, .*cells\.names: two have one name"):
        prove(folder / "cells.cfg", weights, folder / "cells.names", threads=1)


def test_prove_refuses_more_photos_than_it_shows(folder: Path) -> None:
    with pytest.raises(ProofError, match=f"{MAX_PHOTOS + 1} photos: a proof shows at most {MAX_PHOTOS}"):
        prove(*_files(folder), photos=[folder / "red.png"] * (MAX_PHOTOS + 1))


def test_wrong_difference_is_json(folder: Path) -> None:
    timings = (dataclasses.replace(PROOF.timings[0], difference=WRONG), PROOF.timings[0])
    text = json.dumps(dataclasses.replace(PROOF, timings=timings).to_json(), allow_nan=False)
    assert json.loads(text)["timings"][0]["difference"] == WRONG


def test_draw_frames_the_box_and_shrinks_large_photos() -> None:
    photo = np.zeros((200, 400, 3), np.uint8)
    found = Detection("red", 0, 0.5, Box(100, 50, 300, 150))
    picture = draw(photo, [found], max_side=200)
    assert picture.shape == (100, 200, 3)
    assert picture[75, 100].any()  # the lower side of the frame
    assert not picture[60, 100].any()  # inside it
    assert draw(photo, [], max_side=1000).shape == photo.shape


def test_proof_of_other_files_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    cfg, weights, names = _files(folder)
    with pytest.raises(ProofError, match=r"\.cfg: the proof is of .*, but the file is [0-9a-f]{64}: prove it again"):
        mlflow_darknet.save_model(tmp_path / "saved", cfg=cfg, weights=weights, names=names, proof=PROOF)
    assert not (tmp_path / "saved").exists()


def test_saved_model_carries_its_proof_under_the_digest(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "saved"
    cfg, weights, names = _files(folder)
    mlflow_darknet.save_model(target, cfg=cfg, weights=weights, names=names, photos=[folder / "red.png"], licence="MIT")
    sums = (target / "SHA256SUMS").read_text()
    assert {line.split("  ")[1] for line in sums.splitlines()} == {
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    for name in ("proof/report.html", "proof/photo-1.jpg", "data/engines.json"):
        assert f"{hashlib.sha256((target / name).read_bytes()).hexdigest()}  {name}\n" in sums
    flavour = yaml.safe_load((target / "MLmodel").read_text())["flavors"]["darknet"]
    assert (flavour["engines"], flavour["proof"]) == ("data/engines.json", "proof/report.html")
    detector = YoloDetector(model_uri=str(target))
    detector.load()
    record = json.loads((target / "data" / "engines.json").read_text())
    assert detector.detector is not None
    assert detector.detector.engine == record["engines"][0]["engine"]
    assert detector.provenance is not None
    assert detector.provenance["digest"] == folder_digest(target)


def test_bad_pair_is_refused_before_anything_is_logged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    cfg, weights, names = _files(folder)
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="expected 86064 bytes, found 86060"):
        mlflow_darknet.log_model(cfg=cfg, weights=weights, names=names, registered_model_name="cells")
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(WeightsError):
        mlflow_darknet.save_model(tmp_path / "saved", cfg=cfg, weights=weights, names=names)
    assert not (tmp_path / "saved").exists()


def test_proof_tags_say_what_was_compared_and_timed() -> None:
    assert mlflow_darknet.proof_tags(PROOF) == {
        "proof.parity": "2 layers, worst 2.5e-07 of 0.001 allowed, on red.png",
        "proof.engine": "onnxruntime",
        "proof.engines": "onnxruntime 3.2 ms",
        "proof.machine": "a CPU, Linux x86_64, 2 threads",
        "proof.report": "proof/report.html",
        "licence": "Apache-2.0",
    }


@pytest.mark.data
def test_published_weights_are_proved() -> None:
    name = "yolo-fastest-1.1"
    files = SHARED_DATA / f"cfg/{name}.cfg", SHARED_DATA / f"weights/{name}.weights", SHARED_DATA / "names/coco.names"
    proof = prove(*files, photos=[SHARED_DATA / "photos/dog.jpg"], engines=["onnxruntime"])
    assert len(proof.layers) == 131
    assert proof.worst.difference < 1e-4
    assert {one.label for one in proof.photos[0].detections} >= {"dog", "bicycle", "car"}
