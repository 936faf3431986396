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
USER_XATTR = "user."
"""The only attributes that are kept: others (security.capability) give rights to what carries them."""
MAX_XATTR_NAME_BYTES = 255
"""XATTR_NAME_MAX of Linux, linux/limits.h."""
PERMISSIONS = 0o777
PAX = "x"
MAX_PLAIN_BYTES = 99
MAX_PLAIN_SIZE = 8**11 - 1


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
    """The blocks before the content: what a plain header cannot say is in records before it. Raises NotAnEntry."""
    name, target = _bytes(entry.name), _bytes(entry.target)
    records = {f"{XATTR}{key}": value for key, value in sorted(entry.xattrs.items())}
    if len(name) > MAX_PLAIN_BYTES or not name.isascii():
        records["path"], name = name, b"long"
    if len(target) > MAX_PLAIN_BYTES or not target.isascii():
        records["linkpath"], target = target, b"long"
    size = entry.size
    if size > MAX_PLAIN_SIZE:
        records["size"], size = str(size).encode(), 0
    pax = b"".join(_record(key.encode(), value) for key, value in records.items())
    if len(pax) > MAX_PAX_BYTES:
        raise NotAnEntry(f"{entry.name}: {len(pax)} bytes of attributes: at most {MAX_PAX_BYTES} are kept")
    before = _block(b"pax", PAX, size=len(pax)) + pax + bytes(-len(pax) % BLOCK) if pax else b""
    return before + _block(name, entry.kind.value, mode=entry.mode, mtime=entry.mtime, size=size, target=target)


def _block(name: bytes, letter: str, *, size: int, mode: int = 0o600, mtime: int = 0, target: bytes = b"") -> bytes:
    info = tarfile.TarInfo(name.decode("ascii"))
    info.type, info.linkname = letter.encode(), target.decode("ascii")
    info.mode, info.mtime, info.size = mode, max(0, mtime), size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _record(key: bytes, value: bytes) -> bytes:
    """The length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


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
        xattrs=_xattrs_of(pax, kind),
    )


def _xattrs_of(pax: Mapping[str, bytes], kind: Kind) -> dict[str, bytes]:
    xattrs = {key.removeprefix(XATTR): value for key, value in pax.items() if key.startswith(XATTR)}
    for name in xattrs:
        is_named = name.startswith(USER_XATTR) and "\0" not in name and len(_bytes(name)) <= MAX_XATTR_NAME_BYTES
        if kind is not Kind.FILE or not is_named:
            raise NotAnEntry(f"attribute {name[:MAX_XATTR_NAME_BYTES]!r}: a backup has `{USER_XATTR}…`, of files only")
    return xattrs


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
