"""Train models/shapes on drawn photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_wrappers.darknet.errors import DarknetError
from model_wrappers.darknet.training.errors import Interrupted
from model_wrappers.darknet.training.options import INTERRUPTED_EXIT, add_training_options, parse_session
from model_wrappers.darknet.training.session import run_session
from model_wrappers.darknet.training.settings import Settings
from models.shapes.data import HELD_OUT, DrawnShapes

HERE = Path(__file__).parent
CFG, NAMES = HERE / "shapes.cfg", HERE / "shapes.names"
DEFAULTS = Settings(epochs=20)
EXAMPLES = """examples:
  python -m models.shapes.train --to out --photos 1000 --epochs 7
  python -m models.shapes.train --to s3://training/shapes --experiment shapes --register shapes --alias challenger
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train; what is refused is one line on standard error and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m models.shapes.train",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=int, default=4000, help="drawn photos to learn from (default %(default)s)")
    parser.add_argument("--validate", type=int, default=100, help="held-out photos for mAP (default %(default)s)")
    add_training_options(parser, defaults=DEFAULTS)
    arguments = parser.parse_args(argv)
    try:
        session = parse_session(arguments, cfg=CFG, names=NAMES)
        validation = DrawnShapes(arguments.validate, first=HELD_OUT) if arguments.validate > 0 else None
        run_session(session, DrawnShapes(arguments.photos), validation)
    except Interrupted as exc:
        print(exc, file=sys.stderr)
        return INTERRUPTED_EXIT
    except (DarknetError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
