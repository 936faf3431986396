from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from model_wrappers.darknet.errors import NamesError
from model_wrappers.darknetpy_compat import MAX_DATA_BYTES, Detector, names_of_data
from model_wrappers.intake.errors import PhotoError
from model_wrappers.intake.header import MAX_PHOTO_BYTES
from tests.darknet.networks import CELL, write_handmade_model
from tests.data import SHARED_DATA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_handmade_model(tmp_path / "cfg")
    (folder / "cells.data").write_text("# a Darknet data file\nclasses= 2\nnames = cells.names\n")
    pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    pixels[:CELL, :CELL, 2] = 255  # OpenCV writes blue, green, red
    pixels[:CELL, CELL:, 1] = 160
    cv2.imwrite(str(folder / "photo.png"), pixels)
    return folder


def test_detect_answers_darknetpys_dicts_most_probable_first(folder: Path) -> None:
    detector = Detector(*(str(folder / f"cells.{suffix}") for suffix in ("data", "cfg", "weights")))
    red, green = detector.detect(str(folder / "photo.png"))
    assert red == {
        "class": "red",
        "prob": pytest.approx(0.9999, abs=1e-4),
        "left": 0,
        "top": 0,
        "right": CELL,
        "bottom": CELL,
    }
    assert (green["class"], green["left"], green["right"]) == ("green", CELL, 2 * CELL)
    assert [one["class"] for one in detector.detect(str(folder / "photo.png"), 0.9)] == ["red"]
    assert len(detector.detect(str(folder / "photo.png"), thresh=0.0, nms=0)) == 8


def test_thresholds_outside_0_to_1_are_refused(folder: Path) -> None:
    detector = Detector(*(str(folder / f"cells.{suffix}") for suffix in ("data", "cfg", "weights")))
    for name in ("thresh", "hier_thresh", "nms"):
        with pytest.raises(ValueError, match=f"{name}=1.5: a number from 0 to 1"):
            detector.detect(str(folder / "photo.png"), **{name: 1.5})


def test_names_are_found_from_the_working_folder_the_files_own_and_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "cfg" / "coco.data"
    data.parent.mkdir()
    data.write_text("names = data/coco.names\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "coco.names").touch()
    assert names_of_data(data).resolve() == tmp_path / "data" / "coco.names"
    monkeypatch.chdir(tmp_path)
    assert names_of_data(Path("cfg/coco.data")) == Path("data/coco.names")


@pytest.mark.parametrize(
    "text",
    [
        "classes= 2\ntrain  = gone.txt\n#names = gone.names\nnames = data/cells.names\nbackup = backup/\neval=coco\n",
        "names=data/cells.names\r\nnames=gone.names\r\n",
        "\ufeffnames\t=  data/cells.names",
    ],
)
def test_detector_of_a_data_file_whose_names_are_below_the_working_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (folder / "cells.data").write_text(text)
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (folder / "cells.names").rename(work / "data" / "cells.names")
    monkeypatch.chdir(work)
    detector = Detector("../cfg/cells.data", str(folder / "cells.cfg"), str(folder / "cells.weights"))
    assert [one["class"] for one in detector.detect("../cfg/photo.png")] == ["red", "green"]


def test_file_that_is_no_photo_or_too_large_is_named(folder: Path) -> None:
    detector = Detector(*(str(folder / f"cells.{suffix}") for suffix in ("data", "cfg", "weights")))
    with pytest.raises(PhotoError, match=r"cells\.data: The \d+ bytes are no JPEG"):
        detector.detect(str(folder / "cells.data"))
    with (folder / "large.png").open("wb") as file:
        file.truncate(MAX_PHOTO_BYTES + 1)
    with pytest.raises(PhotoError, match=r"large\.png: is larger than"):
        detector.detect(str(folder / "large.png"))


def test_data_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.data").write_bytes(b"names = gone\n".ljust(MAX_DATA_BYTES + 1))
    with pytest.raises(NamesError, match=r"a\.data: is larger than 65,536 bytes"):
        names_of_data(tmp_path / "a.data")


@pytest.mark.parametrize(
    ("text", "message"), [("classes=2\n", "has no names="), ("names=gone\n", "names=gone: no such")]
)
def test_data_file_without_usable_names_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.data").write_text(text)
    with pytest.raises(NamesError, match=message):
        names_of_data(tmp_path / "a.data")


@pytest.mark.data
@pytest.mark.darknet
def test_detect_answers_what_darknet_computes(tmp_path: Path) -> None:
    from model_wrappers.darknet.engines.libdarknet import DarknetProcess

    name, photo = "yolo-fastest-1.1-xl", SHARED_DATA / "photos" / "dog.jpg"
    cfg, weights = SHARED_DATA / "cfg" / f"{name}.cfg", SHARED_DATA / "weights" / f"{name}.weights"
    (tmp_path / "coco.data").write_text(f"names = {SHARED_DATA / 'names' / 'coco.names'}\n")
    found = Detector(str(tmp_path / "coco.data"), str(cfg), str(weights)).detect(str(photo))
    process = DarknetProcess(cfg, weights, threads=1)
    theirs = sorted(process.detect(photo, confidence=0.5, iou=0.5, nms="obj"), key=lambda box: -box.confidence)
    process.close()
    assert [one["prob"] for one in found] == pytest.approx([box.confidence for box in theirs], abs=0.02)
    for one, box in zip(found, theirs, strict=True):
        assert one["left"] == pytest.approx(max(box.x - box.width / 2, 0), abs=2)
        assert one["bottom"] == pytest.approx(min(box.y + box.height / 2, 576), abs=2)
