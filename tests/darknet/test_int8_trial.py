"""8 bits at registration: measured on labelled photos, chosen only where somebody asked and the loss is within it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from model_wrappers import mlflow_darknet
from model_wrappers.darknet import Detector, proof
from model_wrappers.darknet.__main__ import main
from model_wrappers.darknet.engines import INT8_ENGINE
from model_wrappers.darknet.errors import ProofError
from model_wrappers.darknet.folder import load_model_folder
from model_wrappers.darknet.int8_trial import CALIBRATION_PHOTOS, MIN_MEASURED, Int8Trial, describe, try_int8
from model_wrappers.darknet.proof import Proof, prove
from model_wrappers.darknet.proof_report import render_report
from model_wrappers.darknet.timing import EngineTiming
from models.shapes.data import HELD_OUT, DrawnShapes
from models.shapes.evaluate import shapes_model

PHOTOS = DrawnShapes(CALIBRATION_PHOTOS + 30, first=HELD_OUT)
FILES = shapes_model(2)
SOURCES = FILES.cfg_path, FILES.weights_path, FILES.names_path
MAX_LOSS = 0.03


@pytest.fixture(scope="module")
def trial() -> Int8Trial:
    return try_int8(FILES, PHOTOS, threads=1)


def test_trial_measures_both_graphs_on_photos_that_did_not_calibrate(trial: Int8Trial) -> None:
    assert (trial.calibrated, trial.measured) == (CALIBRATION_PHOTOS, 30)
    assert trial.map_float32 > 0.9
    assert abs(trial.loss) < MAX_LOSS
    assert trial.loss == trial.map_float32 - trial.map_int8


def test_trial_refuses_too_few_photos_and_other_classes(tmp_path: Path) -> None:
    few = CALIBRATION_PHOTOS + MIN_MEASURED - 1
    with pytest.raises(ProofError, match=f"{few} labelled photos: 32 to calibrate 8 bits on and at least 10 others"):
        try_int8(FILES, DrawnShapes(few), threads=1)
    (tmp_path / "other.names").write_text("cat\ndog\nhen\nowl\n")
    with pytest.raises(ProofError, match="labelled photos of circle, .*: the model's classes are cat, dog, hen, owl"):
        try_int8(replace(FILES, names_path=tmp_path / "other.names"), PHOTOS, threads=1)


def test_loss_is_told_of_the_graph_in_8_bits_alone() -> None:
    trial = Int8Trial(b"", 32, 30, 0.9, 0.88, 0.05)
    assert trial.told(EngineTiming("onnxruntime")) == EngineTiming("onnxruntime")
    told = trial.told(EngineTiming(INT8_ENGINE, difference=0.05))
    assert (told.map_loss, told.max_map_loss, told.is_usable) == (0.9 - 0.88, 0.05, True)
    assert not replace(trial, max_loss=None).told(EngineTiming(INT8_ENGINE, difference=0.05)).is_usable


def _prove(monkeypatch: pytest.MonkeyPatch, trial: Int8Trial, *, int8_max_loss: float | None, int8_ms: float) -> Proof:
    """With the measured trial, and times that do not depend on the machine."""
    time_engines = proof.time_engines
    milliseconds = {"onnxruntime": 10.0, INT8_ENGINE: int8_ms}

    def timed(*arguments: object, **named: object) -> tuple[EngineTiming, ...]:
        return tuple(replace(one, milliseconds=milliseconds[one.engine]) for one in time_engines(*arguments, **named))

    monkeypatch.setattr(proof, "time_engines", timed)
    monkeypatch.setattr(proof, "try_int8", lambda *_, max_loss, **__: replace(trial, max_loss=max_loss))
    return prove(*SOURCES, threads=1, engines=["onnxruntime"], labelled=PHOTOS, int8_max_loss=int8_max_loss)


@pytest.mark.parametrize(
    ("int8_max_loss", "int8_ms", "engine"),
    [
        (MAX_LOSS, 5.0, INT8_ENGINE),
        (MAX_LOSS, 15.0, "onnxruntime"),  # no faster
        (-1.0, 5.0, "onnxruntime"),  # loses more than declared
        (None, 5.0, "onnxruntime"),  # nobody asked
    ],
)
def test_auto_takes_8_bits_where_asked_for_good_enough_and_faster(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    trial: Int8Trial,
    int8_max_loss: float | None,
    int8_ms: float,
    engine: str,
) -> None:
    proved = _prove(monkeypatch, trial, int8_max_loss=int8_max_loss, int8_ms=int8_ms)
    assert proved.engine == engine
    (row,) = (one for one in proved.timings if one.engine == INT8_ENGINE)
    assert (row.map_loss, row.max_map_loss) == (trial.loss, int8_max_loss)
    assert describe(proved.int8) in render_report(proved)
    cfg, weights, names = SOURCES
    mlflow_darknet.save_model(tmp_path / "saved", cfg=cfg, weights=weights, names=names, proof=proved)
    detector = Detector(tmp_path / "saved", threads=1)
    assert detector.engine == engine
    has_graph = load_model_folder(tmp_path / "saved").int8_path is not None
    assert has_graph == (int8_max_loss == MAX_LOSS)
    document = json.loads((tmp_path / "saved" / "proof" / "proof.json").read_text())
    assert document["int8"]["map_int8"] == trial.map_int8
    assert "graph" not in document["int8"]


def test_loss_can_only_be_promised_where_it_is_measured() -> None:
    with pytest.raises(ProofError, match=r"int8_max_loss=0\.01: .* labelled"):
        prove(*SOURCES, int8_max_loss=0.01)


def test_report_says_when_8_bits_were_not_measured() -> None:
    proved = prove(*SOURCES, threads=1, engines=["onnxruntime"])
    assert "8 bits: not measured: no labelled photos were given." in render_report(proved)
    assert proved.to_json()["int8"] is None


@pytest.mark.parametrize(
    ("max_loss", "said"),
    [
        (None, "a loss of 0.0200. auto does not choose it: nobody declared a loss acceptable."),
        (0.01, "a loss of 0.0200; 0.01 was declared acceptable: auto does not choose it."),
        (0.05, "a loss of 0.0200; 0.05 was declared acceptable: auto chooses it where it is the fastest."),
    ],
)
def test_report_says_what_8_bits_lose_and_who_allowed_it(max_loss: float | None, said: str) -> None:
    text = describe(Int8Trial(b"", 32, 30, 0.9, 0.88, max_loss))
    assert text.startswith("8 bits: mAP 0.8800, float32 0.9000, on 30 labelled photos (calibrated on 32 others): ")
    assert text.endswith(said)


def write_voc(folder: Path, photos: DrawnShapes) -> Path:
    """The drawn photos in Pascal VOC's form, as the split ``test``."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number in range(len(photos)):
        one = photos.read(number)
        height, width = one.pixels.shape[:2]
        cv2.imwrite(str(folder / "JPEGImages" / f"{number}.png"), one.pixels[..., ::-1])
        objects = "".join(
            f"<object><name>{photos.names[kind]}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
            f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
            for kind, box in zip(one.classes, one.boxes, strict=True)
        )
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        (folder / "Annotations" / f"{number}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (folder / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{number}\n" for number in range(len(photos))))
    return folder


def test_prove_command_tries_8_bits_on_a_labelled_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proof, "installed_engines", lambda: ("onnxruntime",))
    labelled = write_voc(tmp_path / "voc", DrawnShapes(CALIBRATION_PHOTOS + MIN_MEASURED, first=HELD_OUT))
    command = ["prove", *map(str, SOURCES), "--to", str(tmp_path / "proof")]
    assert main([*command, "--labelled", str(labelled), "--int8", str(MAX_LOSS)]) == 0
    out = capsys.readouterr().out
    assert f"on {MIN_MEASURED} labelled photos (calibrated on {CALIBRATION_PHOTOS} others)" in out
    assert "0.03 was declared acceptable: auto chooses it where it is the fastest." in out
    assert "onnxruntime-int8" in (tmp_path / "proof" / "report.html").read_text()


def test_prove_command_measures_no_loss_without_labelled_photos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prove", *map(str, SOURCES), "--to", str(tmp_path / "proof")]
    with pytest.raises(SystemExit, match="^2$"):
        main([*command, "--int8", ".01"])
    assert "--int8 MAX_LOSS is of mAP on labelled photos: --labelled names their folder" in capsys.readouterr().err
    assert main([*command, "--labelled", str(tmp_path / "gone")]) == 1
    assert "gone/ImageSets/Main/test.txt: cannot be read as a list of photos" in capsys.readouterr().err
    assert not (tmp_path / "proof").exists()
