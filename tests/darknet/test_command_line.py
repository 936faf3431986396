from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_wrappers.darknet.__main__ import EXAMPLES, main
from model_wrappers.darknet.check import compile_onnx
from model_wrappers.darknet.errors import WeightsError
from model_wrappers.model_identity import folder_digest
from tests.darknet.networks import CELL, write_handmade_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_handmade_model(tmp_path)
    picture = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    picture[:CELL, :CELL, 2] = 255  # OpenCV writes blue, green, red
    cv2.imwrite(str(folder / "red.png"), picture)
    return folder


def only_the_model(folder: Path) -> Path:
    copy = folder / "copy"
    copy.mkdir()
    for suffix in ("cfg", "weights", "names"):
        shutil.copy(folder / f"cells.{suffix}", copy)
    return copy


def _files(folder: Path, *suffixes: str) -> list[str]:
    return [str(folder / f"cells.{suffix}") for suffix in suffixes]


def test_detect_prints_a_json_object_a_photo(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(folder / "red.png")
    assert main(["detect", *_files(folder, "cfg", "weights", "names"), photo, photo, "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["photo"] == second["photo"] == photo
    assert first["image"] == {"width": 64, "height": 64}
    assert first["engine"] == "onnxruntime"
    assert (first["model"]["name"], first["model"]["version"]) == ("cells", "")
    assert first["model"]["digest"] == folder_digest(only_the_model(folder))
    assert first["detections"] == [
        {"label": "red", "class_id": 0, "confidence": 0.9999, "box": {"x_min": 0, "y_min": 0, "x_max": 32, "y_max": 32}}
    ]


def test_detect_prints_a_table_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["detect", *_files(folder, "cfg", "weights", "names"), str(folder / "red.png"), "--nms", "obj", "--raw"])
        == 0
    )
    head, row = capsys.readouterr().out.splitlines()
    assert head.endswith(" ms on onnxruntime")
    assert "1 detection in" in head
    assert row.split() == ["red", "100.0%", "0.0", "0.0", "32.0", "32.0"]


def test_detect_goes_on_after_a_broken_photo_and_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(folder / "cells.names"), str(folder / "gone.png"), str(folder / "red.png")]
    assert main(["detect", *_files(folder, "cfg", "weights", "names"), *photos, "--json"]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert [line.split(": ")[1] for line in printed.err.splitlines()] == photos[:2]


def test_photos_that_cannot_be_read_are_named_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = _files(folder, "cfg", "weights", "names")
    assert main(["detect", *files, str(folder), str(folder / "gone.png"), str(folder / "cells.names")]) == 1
    directory, gone, text = capsys.readouterr().err.splitlines()
    assert directory == f"error: {folder}: Is a directory"
    assert gone == f"error: {folder}/gone.png: No such file or directory"
    assert text.startswith(f"error: {folder}/cells.names: The 10 bytes are no JPEG")


def test_detect_refuses_weights_before_it_hashes_them(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(folder / "cells.weights", 100 << 30)  # sparse
    monkeypatch.setattr("model_wrappers.darknet.commands.file_sha256", lambda _: pytest.fail("it was hashed"))
    assert main(["detect", *_files(folder, "cfg", "weights", "names"), str(folder / "red.png")]) == 1
    assert "at most 2000000000 are read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "detect", "prove", "convert", "layers"])
def test_help_of_each_command_has_examples_that_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "exit codes: 0 done" in text
    lines = [line.strip() for line in text.splitlines() if line.startswith("  python -m model_wrappers.darknet ")]
    assert [line.split()[3] for line in lines] == [command] * len(EXAMPLES[command])


def test_usage_names_the_value_that_is_no_share(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["detect", *_files(folder, "cfg", "weights", "names"), "red.png", "--iou", "half"])
    assert "argument --iou: 'half' is no number from 0 to 1" in capsys.readouterr().err


def test_detect_takes_photos_whose_names_are_no_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = os.fsdecode(os.fsencode(folder) + b"/\xff.png")
    shutil.copy(folder / "red.png", photo)
    command = ["detect", *_files(folder, "cfg", "weights", "names"), photo]
    assert main(command) == 0
    assert "\\udcff.png: 1 detection in" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photo"] == photo


def test_output_that_nobody_reads_on_is_no_error(folder: Path) -> None:
    command = [sys.executable, "-m", "model_wrappers.darknet", "layers", *_files(folder, "cfg")]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False, timeout=50)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("option", ["--confidence=2", "--nms=soft", "--engine=caffe", "--iou=x"])
def test_wrong_usage_is_exit_code_2(folder: Path, option: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["detect", *_files(folder, "cfg", "weights", "names"), str(folder / "red.png"), option])
    assert caught.value.code == 2


def test_check_prints_a_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *_files(folder, "cfg", "weights", "names"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["names"] == ["red", "green"]
    assert main(["check", *_files(folder, "cfg", "weights", "names")]) == 0
    assert "names          red, green" in capsys.readouterr().out


def test_check_prints_one_line_for_a_refused_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *_files(folder, "cfg", "cfg", "names")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {folder}/cells.cfg: is a cfg, not weights: are the files swapped?\n"


def test_debug_shows_where_an_error_was_raised(folder: Path) -> None:
    files = _files(folder, "cfg", "cfg", "names")
    for command in (["--debug", "check", *files], ["check", *files, "--debug"]):
        with pytest.raises(WeightsError, match="are the files swapped"):
            main(command)


def test_interrupt_ends_without_a_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model_wrappers.darknet.commands.load_network", interrupted)
    assert main(["layers", *_files(folder, "cfg")]) == 130


def test_convert_writes_the_compiled_graph(folder: Path) -> None:
    target = folder / "out.onnx"
    assert main(["convert", *_files(folder, "cfg", "weights"), str(target)]) == 0
    assert target.read_bytes() == compile_onnx(folder / "cells.cfg", folder / "cells.weights")


def test_convert_to_8_bits_takes_photos(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, photo = str(folder / "int8.onnx"), str(folder / "red.png")
    assert main(["convert", *_files(folder, "cfg", "weights"), target, "--int8", photo]) == 0
    assert Path(target).read_bytes() != compile_onnx(folder / "cells.cfg", folder / "cells.weights")
    assert main(["convert", *_files(folder, "cfg", "weights"), target, "--int8", str(folder / "cells.names")]) == 1
    assert f"error: {folder}/cells.names: The 10 bytes are no JPEG" in capsys.readouterr().err
    assert main(["convert", *_files(folder, "cfg", "weights"), target, "--int8", *[photo] * 65]) == 1
    assert capsys.readouterr().err == "error: --int8: 65 photos: at most 64 are possible\n"


def test_convert_never_writes_over_what_it_converts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "cells.weights").read_bytes()
    (folder / "link.weights").symlink_to("cells.weights")
    for target in ("cells.weights", "link.weights"):
        assert main(["convert", *_files(folder, "cfg", "weights"), str(folder / target)]) == 1
        assert (
            capsys.readouterr().err == f"error: {folder}/{target}: is what is converted: name another file to write\n"
        )
    assert (folder / "cells.weights").read_bytes() == before


def test_convert_leaves_the_old_file_where_the_new_one_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _files(folder, "cfg", "weights")
    assert main(["convert", *files, str(folder / "none" / "out.onnx")]) == 1
    assert capsys.readouterr().err == f"error: {folder}/none/out.onnx: cannot be written: No such file or directory\n"
    (folder / "out.onnx").mkdir()
    assert main(["convert", *files, str(folder / "out.onnx")]) == 1
    assert capsys.readouterr().err == f"error: {folder}/out.onnx: cannot be written: Is a directory\n"
    assert not list(folder.glob(".out*"))


def test_convert_writes_a_file_that_others_may_read(folder: Path) -> None:
    assert main(["convert", *_files(folder, "cfg", "weights"), str(folder / "out.onnx")]) == 0
    (folder / "other").write_bytes(b"")
    assert (folder / "out.onnx").stat().st_mode == (folder / "other").stat().st_mode


def test_layers_prints_a_line_a_layer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", *_files(folder, "cfg")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:7] == ["0", "convolutional", "photo", "2", "x", "2", "x"]
    assert second.split()[:3] == ["1", "yolo", "0"]
    assert main(["layers", *_files(folder, "cfg"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1]) == {
        "index": 1,
        "line": 13,
        "kind": "yolo",
        "inputs": [0],
        "shape": [7, 2, 2],
    }


@pytest.mark.parametrize(
    "engine", ["auto", "onnxruntime", "opencv", pytest.param("darknet", marks=pytest.mark.darknet)]
)
def test_detect_runs_on_the_engine_asked_for(folder: Path, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    files = _files(folder, "cfg", "weights", "names")
    assert main(["detect", *files, str(folder / "red.png"), "--json", "--engine", engine]) == 0
    (found,) = json.loads(capsys.readouterr().out)["detections"]
    assert (found["label"], found["confidence"]) == ("red", 0.9999)


def test_prove_writes_a_report_and_never_over_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "prove",
        *_files(folder, "cfg", "weights", "names"),
        str(folder / "red.png"),
        "--to",
        str(folder / "proof"),
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 layers on red.png: worst ")
    assert printed.count("<- auto") == 1
    assert (folder / "proof" / "photo-1.jpg").is_file()
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*command[:-1], str(folder / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] in printed


def test_prove_refuses_what_is_no_photo(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = _files(folder, "cfg", "weights", "names")
    assert main(["prove", *files, str(folder / "cells.names"), "--to", str(folder / "proof")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert not (folder / "proof").exists()
