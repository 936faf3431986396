"""Folders in Pascal VOC's form, as they are and as they should not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.darknet.training.errors import DataSetError
from model_wrappers.darknet.training.voc import load_voc, parse_annotation
from tests.data import SHARED_DATA
from tests.training.voc_folder import NAMES, annotation, write_voc

XML = Path("Annotations/one.xml")
CELLS = ("RBC", "WBC", "Platelets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "voc", train=3, val=1)


def test_photos_come_with_their_boxes_in_the_order_of_the_list(folder: Path) -> None:
    photos = load_voc(folder, "train", NAMES)
    assert [path.stem for path in photos.paths] == ["train-0", "train-1", "train-2"]
    first = photos.read(0)
    assert first.pixels.shape == (64, 96, 3)
    assert first.classes.tolist() == [0, 1]
    disc = first.boxes[0].astype(int)
    middle = first.pixels[(disc[1] + disc[3]) // 2, (disc[0] + disc[2]) // 2]
    assert middle[2] > 200 > middle[0]  # drawn in OpenCV's order, read as RGB: the disc is light blue


def test_the_fingerprint_follows_every_photo_and_label(folder: Path) -> None:
    before = load_voc(folder, "train", NAMES).fingerprint
    assert load_voc(folder, "train", NAMES).fingerprint == before
    assert load_voc(folder, "val", NAMES).fingerprint != before
    assert load_voc(folder, "train", NAMES[::-1]).fingerprint != before
    photo = folder / "JPEGImages" / "train-1.jpg"
    content = photo.read_bytes()
    photo.write_bytes(content[:-1] + b"!")  # as long as before
    assert load_voc(folder, "train", NAMES).fingerprint != before
    photo.write_bytes(content)
    assert load_voc(folder, "train", NAMES).fingerprint == before
    (folder / "Annotations" / "train-1.xml").write_text(annotation([("disc", 1, 1, 20, 20)]))
    assert load_voc(folder, "train", NAMES).fingerprint != before


def test_a_list_of_one_class_has_a_second_field(folder: Path) -> None:
    (folder / "ImageSets" / "Main" / "disc_train.txt").write_text("train-0  1\n\ntrain-2 -1\n")
    assert [path.stem for path in load_voc(folder, "disc_train", NAMES).paths] == ["train-0", "train-2"]


@pytest.mark.parametrize(
    ("box", "said"), [((30, 20, 30, 40), "30,20,30,40"), ((50, 20, 40, 40), "50,20,40,40"), ((200, 0, 220, 9), "200")]
)
def test_a_box_without_area_is_told_and_left_out(box: tuple[int, int, int, int], said: str) -> None:
    found = parse_annotation(annotation([("disc", 1, 2, 30, 40), ("block", *box)]).encode(), names=NAMES, path=XML)
    assert found.boxes.tolist() == [[1, 2, 30, 40]]
    assert found.classes.tolist() == [0]
    assert len(found.findings) == 1
    assert said in str(found.findings[0])
    assert "object 2 (block)" in str(found.findings[0])


def test_a_box_ends_at_the_photos_border() -> None:
    found = parse_annotation(annotation([("disc", -5, 3, 200, 64)]).encode(), names=NAMES, path=XML)
    assert found.boxes.tolist() == [[0, 3, 96, 64]]
    assert found.findings == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<annotation", "is not XML"),
        (b"", "is not XML"),
        (b"<html/>", "holds <html>: <annotation> is expected"),
        (b"<annotation/>", "<size/width> is missing"),
        (annotation([], size=(0, 5)).encode(), "<size> is 0x5"),
        (annotation([("cat", 1, 1, 2, 2)]).encode(), "object 1: class 'cat' is not one of disc, block"),
        (annotation([("disc", 1, 1, 2, 2)]).replace("<xmax>2", "<xmax>two").encode(), "<bndbox/xmax> is 'two'"),
        (annotation([("disc", 1, 1, 2, 2)]).replace("<xmax>2", "<xmax>nan").encode(), "<bndbox/xmax> is 'nan'"),
        (annotation([("disc", 1, 1, 2, 2)]).replace("<ymin>1</ymin>", "").encode(), "<bndbox/ymin> is missing"),
    ],
)
def test_a_broken_annotation_is_named_with_its_place(content: bytes, message: str) -> None:
    with pytest.raises(DataSetError) as caught:
        parse_annotation(content, names=NAMES, path=XML)
    assert str(caught.value).startswith(f"{XML}: ")
    assert message in str(caught.value)


def test_all_that_is_wrong_is_listed_at_once(folder: Path) -> None:
    (folder / "JPEGImages" / "train-0.jpg").unlink()
    (folder / "Annotations" / "train-1.xml").unlink()
    (folder / "Annotations" / "train-2.xml").write_text(annotation([("cat", 1, 1, 2, 2)]))
    with pytest.raises(DataSetError) as caught:
        load_voc(folder, "train", NAMES)
    text = str(caught.value)
    assert "JPEGImages/train-0: there is no such photo" in text
    assert "Annotations/train-1.xml: cannot be read: No such file" in text
    assert "class 'cat'" in text


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "voc", train=14)
    for path in (folder / "Annotations").iterdir():
        path.unlink()
    with pytest.raises(DataSetError, match="and 4 more"):
        load_voc(folder, "train", NAMES)


@pytest.mark.parametrize(("content", "message"), [("", "lists 0 photos"), ("../../x\n", "not the name of a photo")])
def test_a_wrong_list_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "ImageSets" / "Main" / "train.txt").write_text(content)
    with pytest.raises(DataSetError, match=message):
        load_voc(folder, "train", NAMES)


def test_a_missing_split_names_those_that_are_there(folder: Path) -> None:
    with pytest.raises(DataSetError, match="splits here: train, val"):
        load_voc(folder, "test", NAMES)


def test_a_photo_of_another_size_than_its_annotation_is_refused(folder: Path) -> None:
    (folder / "Annotations" / "train-0.xml").write_text(annotation([("disc", 1, 1, 9, 9)], size=(64, 96)))
    with pytest.raises(DataSetError, match="is 96x64, but its annotation says 64x96"):
        load_voc(folder, "train", NAMES).read(0)


def test_a_photo_that_is_none_is_named(folder: Path) -> None:
    (folder / "JPEGImages" / "train-0.jpg").write_bytes(b"no photo")
    with pytest.raises(DataSetError, match=r"train-0\.jpg: cannot be read as a photo"):
        load_voc(folder, "train", NAMES).read(0)


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"<annotation>{text}</annotation>".encode()))
def test_any_bytes_are_an_annotation_or_an_error(content: bytes) -> None:
    try:
        found = parse_annotation(content, names=NAMES, path=XML)
    except DataSetError:
        return
    assert found.boxes.shape == (len(found.classes), 4)


def test_an_entity_bomb_is_refused() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "boom" * 10}">' for n in range(12))
    content = f"<!DOCTYPE annotation [{levels}]><annotation>&e11;</annotation>".encode()
    with pytest.raises(DataSetError, match="is not XML"):
        parse_annotation(content, names=NAMES, path=XML)


@pytest.mark.data
def test_the_two_boxes_without_area_of_real_photos_are_told() -> None:
    splits = {split: load_voc(SHARED_DATA / "bccd", split, CELLS) for split in ("train", "val", "test")}
    assert {split: len(photos) for split, photos in splits.items()} == {"train": 205, "val": 87, "test": 72}
    told = [finding.path.stem for photos in splits.values() for finding in photos.findings]
    assert sorted(told) == ["BloodImage_00338", "BloodImage_00343"]
    counts = np.sum(
        [np.bincount(one.classes, minlength=3) for photos in splits.values() for one in photos.annotations], 0
    )
    assert counts.tolist() == [4155 - 2, 372, 361]
