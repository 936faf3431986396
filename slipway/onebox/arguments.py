"""What the processes of one machine that follow its API are started with."""

from __future__ import annotations

import argparse
from pathlib import Path


def process_parser(module: str, document: str | None, epilog: str) -> argparse.ArgumentParser:
    """For ``python -m module``, with ``--home`` and ``--kubeconfig``; the texts are shown as they are written."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=document,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="the platform's state folder")
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="PATH", help="how to reach the API")
    return parser
