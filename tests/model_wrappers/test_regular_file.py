from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from model_wrappers import photo
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.engines.record import load_record
from model_wrappers.darknet.errors import CfgError, NamesError
from model_wrappers.darknet.names import load_names
from model_wrappers.darknet.provenance import file_sha256
from model_wrappers.darknetpy_compat import names_of_data
from model_wrappers.exported.layout import LAYOUT_NAME, LayoutError, load_layout
from model_wrappers.model_sums import read_sums
from model_wrappers.regular_file import open_regular, read_start


def test_file_is_read_up_to_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"hello")
    assert [read_start(path, size) for size in (0, 3, 5, 9)] == [b"", b"hel", b"hello", b"hello"]


def test_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "b").symlink_to("a")
    assert read_start(tmp_path / "b", 9) == b"hello"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_folder_pipe_and_device_are_refused_at_once_and_leave_nothing_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = open_files()
    for path, kind in ((tmp_path, IsADirectoryError), (tmp_path / "pipe", OSError), (Path("/dev/zero"), OSError)):
        with pytest.raises(kind, match="is no regular file|Is a directory"):
            open_regular(path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")
    assert open_files() == before


def read_layout(path: Path) -> None:
    load_layout(path.parent)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (load_network, CfgError),
        (load_names, NamesError),
        (read_layout, LayoutError),
        (load_record, OSError),
        (photo.read, OSError),
        (file_sha256, OSError),
        (read_sums, OSError),
        (names_of_data, OSError),
    ],
)
def test_pipe_that_nobody_writes_to_is_refused_by_every_reader(
    read: Callable[[Path], object], error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / LAYOUT_NAME
    os.mkfifo(path)
    with pytest.raises(error, match="is no regular file") as refused:
        read(path)
    assert str(path) in str(refused.value)
