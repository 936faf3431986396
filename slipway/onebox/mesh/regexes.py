"""Whether a text is a regular expression of RE2, the library that Envoy has: https://github.com/google/re2/wiki/Syntax. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

import re2

from slipway.onebox.mesh.limits import MAX_REGEX_CHARS, MAX_REGEX_PROGRAM, MAX_UNICODE_CLASSES

_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1  # Envoy has its RE2 read bytes, not characters of UTF-8
_OPTIONS.log_errors = False
_UNICODE_CLASS = re.compile(r"\\[pP]")
REMEMBERED = 1024


@lru_cache(maxsize=REMEMBERED)
def regex_problem(value: str) -> str | None:
    """Why Envoy would refuse ``value``, or None. One refused regex would block every other route's update."""
    if len(value) > MAX_REGEX_CHARS:
        return f"is longer than {MAX_REGEX_CHARS} characters"
    if (classes := len(_UNICODE_CLASS.findall(value))) > MAX_UNICODE_CLASSES:
        return rf"has {classes} classes of Unicode (\p, \P), at most {MAX_UNICODE_CLASSES} are possible"
    try:
        size = re2.compile(value.encode(errors="replace"), _OPTIONS).programsize
    except re2.error as exc:
        return f"is not a regular expression of RE2: {exc.args[0].decode(errors='replace')}"
    if size > MAX_REGEX_PROGRAM:
        return f"is too large: a program of {size:,} steps, at most {MAX_REGEX_PROGRAM:,} are possible"
    return None
