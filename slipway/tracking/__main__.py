"""What MLflow's Pods run besides the server: `python -m slipway.tracking migrate|await-schema|store|fetch`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from slipway.tracking import settings
from slipway.tracking.errors import TrackingError
from slipway.tracking.manifest import LATEST

WANTED = "SLIPWAY_RESTORE"
EXAMPLES = """examples:
  python -m slipway.tracking migrate
  python -m slipway.tracking fetch --folder /dumps --backup 20261122T031500Z

Every setting comes from the environment: mlflow/base/settings.env and the Secrets that mlflow/README.md names."""


def _say(line: str) -> None:
    print(line, flush=True)


def _step(given: argparse.Namespace) -> None:
    settings.refuse_placeholders(os.environ)
    found = settings.databases(os.environ)
    if given.step in ("migrate", "await-schema"):
        from slipway.tracking.migrate import await_schema, migrate

        if given.step == "migrate":
            migrate(found, settings.accounts(os.environ), say=_say)
        else:
            await_schema(found)
        return
    from slipway.tracking import backup

    place = settings.place(os.environ)
    if given.step == "store":
        backup.store(found, place, given.folder, say=_say)
    else:
        backup.fetch(found, place, given.backup, given.folder, say=_say)


def main(arguments: list[str] | None = None) -> int:
    """Bring MLflow's databases to this release's schema, wait for that, take dumps of them to S3, or bring such dumps back."""
    parser = argparse.ArgumentParser(
        prog="python -m slipway.tracking",
        description=main.__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=("migrate", "await-schema", "store", "fetch"))
    parser.add_argument(
        "--backup",
        default=os.environ.get(WANTED, LATEST),
        metavar="STAMP",
        help=f"which backup to fetch (default: what {WANTED} in the environment says, or the latest)",
    )
    parser.add_argument("--folder", type=Path, default=Path("/dumps"), help="of the dumps (default: %(default)s)")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", module="alembic")  # of MLflow's steps, for their authors
    try:
        _step(given)
    except TrackingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
