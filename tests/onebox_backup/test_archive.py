"""Backups as files: what is written is read again; what is damaged, cut off or hostile is refused by the member's name."""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.onebox.backup import bounds
from slipway.onebox.backup.entry import BLOCK, Entry, Kind, parse_header, parse_pax, render_header
from slipway.onebox.backup.errors import BackupError, Damaged, NotMade, NotRestored
from slipway.onebox.backup.header import FORMAT, render_header_file
from slipway.onebox.backup.names import HEADER, MANIFEST
from slipway.onebox.backup.reader import Members
from tests.onebox_backup.archives import HEAD, Member, file, folder, link, odd_header, read, rewrite, write

HOME = "hub/homes/ada"
GOOD = [
    file("secrets/api-token", b"s3cret"),
    folder(HOME),
    file(f"{HOME}/notes.txt", b"n" * 5000, mode=0o640),
    link(f"{HOME}/latest", "notes.txt"),
]


def test_members_come_back_as_they_were_written(tmp_path: Path) -> None:
    swift = Entry(
        "data/s3/devices/disk/objects/1/abc/0.data",
        Kind.FILE,
        mode=0o600,
        mtime=1_700_000_001,
        size=3,
        xattrs={"user.swift.metadata": bytes(range(256)) * 3, "user.swift.metadata_checksum": b"b1cc\n1="},
    )
    odd = file(f"{HOME}/{'x' * 200}/{'ü' * 90}.txt", b"odd")
    raw = file(f"{HOME}/" + b"latin-\xe9".decode("utf-8", "surrogateescape"), b"")
    members = [*GOOD, (swift, b"abc"), odd, raw]
    assert read(write(tmp_path / "b", members)) == members


def test_tar_lists_a_backup(tmp_path: Path) -> None:
    swift = Entry("data/s3/devices/x", Kind.FILE, xattrs={"user.swift.metadata": b"\x80\x02}"})
    command = ["tar", "-tzf", write(tmp_path / "b", [*GOOD, (swift, b"")])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    listed = done.stdout.splitlines()
    assert listed == [
        HEADER,
        *(entry.name + "/" * (entry.kind is Kind.FOLDER) for entry, _ in GOOD),
        swift.name,
        MANIFEST,
    ]


names = st.lists(st.text("aäb.\udce9 \n", min_size=1, max_size=90), min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, st.binary(max_size=2000), max_size=5))
def test_every_good_name_and_content_comes_back(tmp_path: Path, contents: dict[str, bytes]) -> None:
    known, members = Members(), []
    for name, content in contents.items():
        entry, _ = file(f"{HOME}/{name}", content)
        if not known.refusal_of(entry):
            known.add(entry)
            members.append((entry, content))
    assert read(write(tmp_path / "b", members)) == members


HOSTILE: dict[str, tuple[list[Member], str]] = {
    "up": ([file("secrets/../../evil")], "stays below the home"),
    "absolute": ([file("/etc/passwd")], "stays below the home"),
    "dot": ([file("secrets/./x")], "stays below the home"),
    "elsewhere": ([file("run/wanted")], "not a part of a home"),
    "own state": ([file("kubeconfig")], "not a part of a home"),
    "long part": ([file(f"{HOME}/{'x' * 256}")], "stays below the home"),
    "long name": ([file("/".join([HOME, *["x" * 200] * 21]))], "a name of 1 to"),
    "twice": ([file("secrets/a"), file("secrets/a")], "is there twice"),
    "file as folder": ([file(f"{HOME}/a"), file(f"{HOME}/a/b")], "which is no folder"),
    "folder as file": ([file(f"{HOME}/a/b"), file(f"{HOME}/a")], "is there twice"),
    "through a link": ([link(f"{HOME}/a", "b"), file(f"{HOME}/a/b")], "which is no folder"),
    "absolute link": ([link(f"{HOME}/a", "/etc")], "out of its folder"),
    "link up": ([link(f"{HOME}/a", "../grace/b")], "out of its folder"),
    "link up deeper": ([link(f"{HOME}/d/a", "../../grace/b")], "out of its folder"),
    "link up in between": ([link(f"{HOME}/d/a", "x/../../..")], "out of its folder"),
    "link in place of an area": ([link("hub/homes", "..")], "out of its folder"),
    "link among secrets": ([link("secrets/a", "../x")], "out of its folder"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_members_are_refused(case: str, tmp_path: Path) -> None:
    members, why = HOSTILE[case]
    with pytest.raises(Damaged, match=re.escape(why)) as caught:
        read(write(tmp_path / "b", members))
    assert caught.value.member == members[-1][0].name


def test_sizes_above_8_gibibytes_are_said_in_records() -> None:
    blocks = render_header(Entry("secrets/x", Kind.FILE, size=9 << 30))
    assert parse_header(blocks[-BLOCK:], parse_pax(blocks[BLOCK:-BLOCK].rstrip(b"\0"))).size == 9 << 30


def test_links_inside_their_folder_are_kept(tmp_path: Path) -> None:
    members = [
        link(f"{HOME}/a", "b"),
        link(f"{HOME}/d/e/up", "../../b"),
        link("environments/abc/lib64", "lib"),
        link("hub/proxy/abc/node_modules/.bin/x", "../x/bin/x"),
    ]
    assert read(write(tmp_path / "b", members)) == members


@pytest.mark.parametrize("letter", [b"1", b"3", b"4", b"6", b"7", b"S", b"L", b"K", b"g", b"X", b"\xff"])
def test_devices_hard_links_and_other_types_are_refused(letter: bytes, tmp_path: Path) -> None:
    bad = odd_header(file("secrets/x", b"")[0], letter=letter)
    content = render_header_file(HEAD)
    head = render_header(Entry(HEADER, Kind.FILE, size=len(content))) + content + bytes(-len(content) % BLOCK)
    (tmp_path / "b").write_bytes(gzip.compress(head + bad))
    with pytest.raises(Damaged, match="files, folders and symbolic links only"):
        read(tmp_path / "b")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.FILE, "security.capability"),
        (Kind.FILE, "trusted.overlay.opaque"),
        (Kind.FILE, "system.posix_acl_access"),
        (Kind.FILE, "user.a\0b"),
        (Kind.FILE, "user." + "x" * 251),
        (Kind.FOLDER, "user.swift.metadata"),
        (Kind.LINK, "user.swift.metadata"),
    ],
)
def test_attributes_that_no_backup_has_are_refused(kind: Kind, name: str, tmp_path: Path) -> None:
    """A restore is often root's: it would give them to files that others can run."""
    target = "x" if kind is Kind.LINK else ""
    bad = Entry("data/s3/devices/disk/tool", kind, target=target, xattrs={name: b"\1\0\0\2"})
    with pytest.raises(Damaged, match="attribute .* a backup has `user"):
        read(write(tmp_path / "b", [*GOOD, (bad, b"")]))


def test_changed_content_names_its_member(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=re.escape("secrets/api-token: its content is not what")):
        read(rewrite(write(tmp_path / "b", GOOD), b"s3cret", b"s3crex"))


def test_manifest_must_name_every_member_and_no_other(tmp_path: Path) -> None:
    original = write(tmp_path / "b", GOOD).read_bytes()
    with pytest.raises(Damaged, match="is no member's line"):
        read(rewrite(tmp_path / "b", b'"secrets/api-token"', b'"secrets/api-tokeN"'))
    (tmp_path / "b").write_bytes(original)
    with pytest.raises(Damaged, match="its content is not what"):
        read(rewrite(tmp_path / "b", b'"bytes":5000', b'"bytes":5001'))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    members = [*GOOD, file(f"{HOME}/random", bytes((17 * i * i) % 251 for i in range(3000)))]
    return write(tmp_path_factory.mktemp("whole") / "b", members).read_bytes()


def test_cut_off_anywhere_is_refused(whole: bytes, tmp_path: Path) -> None:
    for length in range(0, len(whole), 7):
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises(Damaged):
            read(tmp_path / "b")


def test_cut_off_says_in_which_member(whole: bytes, tmp_path: Path) -> None:
    plain = gzip.decompress(whole)
    (tmp_path / "b").write_bytes(gzip.compress(plain[: plain.index(b"nnnn") + 600]))
    with pytest.raises(Damaged, match=re.escape(f"{HOME}/notes.txt: the file ends here")):
        read(tmp_path / "b")


def test_a_flipped_bit_anywhere_is_refused(whole: bytes, tmp_path: Path) -> None:
    """Behind gzip's header, whose time stamp says nothing; a few bits of the stream change nothing."""
    refused = 0
    positions = range(10, len(whole), 3)
    for position in positions:
        broken = bytearray(whole)
        broken[position] ^= 1 << (position % 8)
        (tmp_path / "b").write_bytes(broken)
        try:
            read(tmp_path / "b")
        except BackupError:
            refused += 1
        else:
            assert gzip.decompress(broken) == gzip.decompress(whole)
    assert refused >= 0.9 * len(positions)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_in_a_whole_gzip_end_in_an_error_or_are_the_same(whole: bytes, tmp_path: Path, data: Any) -> None:
    plain = bytearray(gzip.decompress(whole))
    before = bytes(plain)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(plain) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=12))
        plain[position : position + len(patch)] = patch
    (tmp_path / "b").write_bytes(gzip.compress(bytes(plain), compresslevel=1))
    try:
        members = read(tmp_path / "b")
    except BackupError:
        return
    (tmp_path / "b").write_bytes(gzip.compress(before, compresslevel=1))
    assert [(entry.name, content) for entry, content in members] == [
        (entry.name, content) for entry, content in read(tmp_path / "b")
    ]


def test_something_behind_the_end_is_refused(whole: bytes, tmp_path: Path) -> None:
    for more in (b"x", gzip.compress(b"more")):
        (tmp_path / "b").write_bytes(whole + more)
        with pytest.raises(Damaged):
            read(tmp_path / "b")


def test_newer_format_is_refused_with_the_release_that_reads_it(tmp_path: Path) -> None:
    newer = replace(HEAD, format=FORMAT + 1, release="9.9.9")
    with pytest.raises(NotRestored, match=re.escape("restore it with Slipway 9.9.9")):
        read(write(tmp_path / "b", GOOD, header=newer))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file ends here: it is cut off"),
        (b"hello", "damaged here: Not a gzipped file (b'he')"),
        (gzip.compress(b"", mtime=0), "the file ends here: it is cut off"),
        (gzip.compress(b"hello" * 1000, mtime=0), "a number is expected, not b'lohelloh'"),
    ],
)
def test_other_files_are_no_backup(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(Damaged) as caught:
        read(tmp_path / "b")
    expected = f"{tmp_path}/b: no backup of Slipway ({why}): a file that `slipway backup` wrote is expected"
    assert str(caught.value) == expected


def test_another_tar_is_no_backup(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b", "w:gz") as tar:
        tar.add(__file__, arcname="secrets/x")
    with pytest.raises(Damaged, match="no backup of Slipway"):
        read(tmp_path / "b")


def test_attributes_of_a_gigabyte_are_refused_before_they_are_read(tmp_path: Path) -> None:
    block = odd_header(Entry("pax", Kind.FILE, size=1 << 30), letter=b"x")
    with gzip.open(tmp_path / "b", "wb", compresslevel=1) as out:
        out.write(block)
        for _ in range(200):
            out.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(Damaged, match="bytes of attributes"):
        read(tmp_path / "b")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 << 20


def test_backup_of_too_many_members_is_not_made_so_that_every_one_can_be_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = 9  # the header, 4 members, secrets, hub, hub/homes and the manifest
    for limit in range(2, names + 2):
        monkeypatch.setattr(bounds, "MAX_MEMBERS", limit)
        if limit < names:
            with pytest.raises(NotMade, match=f"more than {limit} members"):
                write(tmp_path / "b", GOOD)
        else:
            assert read(write(tmp_path / "b", GOOD)) == GOOD
    monkeypatch.setattr(bounds, "MAX_MEMBERS", names - 1)
    with pytest.raises(Damaged, match="more than 8 members"):
        read(tmp_path / "b")


def test_attributes_larger_than_a_reader_takes_are_an_error_with_the_members_name(tmp_path: Path) -> None:
    values = {f"user.{number}": bytes(60_000) for number in range(3)}
    large = Entry("data/s3/devices/disk/x.data", Kind.FILE, xattrs=values)
    with pytest.raises(NotMade, match="data/s3/devices/disk/x.data: 18.... bytes of attributes: at most 131072"):
        write(tmp_path / "b", [(large, b"")])


@pytest.mark.parametrize("what", ["names", "folders", "targets"])
def test_bytes_of_names_are_bounded_for_writer_and_reader(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file may hold two million names of 4 KiB, each of 200 folders, or links to as much."""
    long = "x" * 250
    members = {
        "names": [file(f"{HOME}/{'ü' * 120}{number}") for number in range(20)],
        "folders": [file(f"{HOME}/{number}/{'y/' * 100}x") for number in range(2)],
        "targets": [link(f"{HOME}/{number}", "/".join([long] * 16)) for number in range(2)],
    }[what]
    write(tmp_path / "b", members)
    assert read(tmp_path / "b") == members
    monkeypatch.setattr(bounds, "MAX_NAMES_BYTES", 4000)
    with pytest.raises(NotMade, match="MiB of names"):
        write(tmp_path / "c", members)
    with pytest.raises(Damaged, match="MiB of names"):
        read(tmp_path / "b")


def test_memory_stays_small_whatever_a_member_holds(tmp_path: Path) -> None:
    size = 96 << 20
    entry = Entry(f"{HOME}/zeros", Kind.FILE, size=size)
    with (tmp_path / "zeros").open("wb") as sparse:
        sparse.truncate(size)
    tracemalloc.start()
    with (tmp_path / "b").open("wb") as stream, (tmp_path / "zeros").open("rb") as content:
        from slipway.onebox.backup.writer import ArchiveWriter

        writer = ArchiveWriter(stream, scratch=tmp_path)
        writer.add_bytes(HEADER, render_header_file(HEAD))
        assert writer.add(entry, content)
        writer.close()
    from slipway.onebox.backup.reader import open_archive

    stream, reader = open_archive(tmp_path / "b")
    with stream:
        assert sum(len(chunk) for _, content in reader.entries() for chunk in content) == size
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 << 20
