"""Where the tests find files that are not committed."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SLIPWAY_SHARED", REPOSITORY.parent / "shared"))
SHARED_DATA = SHARED / "data"
KUBE_API = SHARED / "reference" / "kube-api"
SCHEMAS = SHARED / "reference" / "schemas"
