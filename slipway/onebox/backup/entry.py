"""One member of a backup, to and from a tar header: the pax form of POSIX.1-2001, which every tar reads.

Extended attributes are written as GNU tar and star write them: pax records ``SCHILY.xattr.<name>``.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

BLOCK = 512
MAX_PAX_BYTES = 1 << 17
"""Records of one member: a path, a target, Swift's metadata (64 KiB at most)."""
XATTR = "SCHILY.xattr."
PERMISSIONS = 0o777


class Kind(Enum):
    """What a backup holds; tar's letter."""

    FILE = "0"
    LINK = "2"
    FOLDER = "5"


@dataclass(frozen=True)
class Entry:
    """``size`` in bytes, of files only; ``mtime`` in seconds since the epoch; ``mode`` without set-id bits."""

    name: str
    kind: Kind
    mode: int = 0o600
    mtime: int = 0
    size: int = 0
    target: str = ""
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class NotAnEntry(Exception):
    """A header that no backup has; the message says why."""


def render_header(entry: Entry) -> bytes:
    """The blocks before the content. Raises NotAnEntry where the attributes are too large."""
    info = tarfile.TarInfo(entry.name)
    info.type = entry.kind.value.encode()
    info.mode, info.mtime, info.size, info.linkname = entry.mode, max(0, entry.mtime), entry.size, entry.target
    info.pax_headers = {
        f"{XATTR}{name}": value.decode("utf-8", "surrogateescape") for name, value in sorted(entry.xattrs.items())
    }
    blocks = info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
    if len(blocks) > MAX_PAX_BYTES:
        raise NotAnEntry(f"{entry.name}: {len(blocks)} bytes of attributes: at most {MAX_PAX_BYTES} are kept")
    return blocks


def parse_header(block: bytes, pax: Mapping[str, bytes]) -> Entry:
    """A header block with the records before it. Raises NotAnEntry."""
    check_sum(block)
    try:
        kind = Kind(block[156:157].decode("ascii", "replace"))
    except ValueError:
        letter = block[156:157]
        raise NotAnEntry(f"type {letter!r}: a backup has files, folders and symbolic links only") from None
    name, target = pax.get("path"), pax.get("linkpath")
    size = parse_number(pax["size"], base=10) if "size" in pax else parse_number(block[124:136])
    if size and kind is not Kind.FILE:
        raise NotAnEntry("only files have content")
    return Entry(
        name=_text(_name_of(block) if name is None else name).rstrip("/"),
        kind=kind,
        mode=parse_number(block[100:108]) & PERMISSIONS,
        mtime=parse_number(block[136:148]),
        size=size,
        target=_text(block[157:257].split(b"\0")[0] if target is None else target) if kind is Kind.LINK else "",
        xattrs={key.removeprefix(XATTR): value for key, value in pax.items() if key.startswith(XATTR)},
    )


def check_sum(block: bytes) -> None:
    """The sum of all bytes with its own field as spaces. Raises NotAnEntry."""
    expected = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    if parse_number(block[148:156]) != expected:
        raise NotAnEntry("the checksum of its header is wrong")


def parse_number(field_bytes: bytes, *, base: int = 8) -> int:
    """Digits with spaces or NULs around them. Raises NotAnEntry."""
    digits = field_bytes.split(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit() or len(digits) > 20:
        raise NotAnEntry(f"a number is expected, not {digits[:20]!r}")
    try:
        return int(digits, base)
    except ValueError:
        raise NotAnEntry(f"a number to base {base} is expected, not {digits[:20]!r}") from None


def parse_pax(content: bytes) -> dict[str, bytes]:
    """Lines of ``<length> <key>=<value>``, length of the whole line in bytes, → key → value. Raises NotAnEntry."""
    records: dict[str, bytes] = {}
    position = 0
    while position < len(content):
        length_text, space, _ = content[position : position + 20].partition(b" ")
        length = parse_number(length_text, base=10) if space else 0
        record = content[position + len(length_text) + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or position + length > len(content):
            raise NotAnEntry("its attributes cannot be read")
        records[_text(key)] = value[:-1]
        position += length
    return records


def _name_of(block: bytes) -> bytes:
    prefix, name = block[345:500].split(b"\0")[0], block[:100].split(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
