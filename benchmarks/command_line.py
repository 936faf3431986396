"""What the command lines of the benchmarks have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parser(document: str | None, *, epilog: str = "") -> argparse.ArgumentParser:
    """With the module's ``document`` as it is written, and ``--json FILE``, for ``keep``."""
    made = argparse.ArgumentParser(
        description=document, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return made


def keep(results: Mapping[str, Any], file: Path | None) -> None:
    """All that was measured, where a file was asked for."""
    if file:
        file.write_text(json.dumps(results, indent=1) + "\n")
