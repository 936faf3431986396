"""The executor as it serves nodes that take JSON only, whatever these nodes say: Seldon's own, and those of other languages."""

from __future__ import annotations

import os
import sys

from slipway.serving.polling import poll_directly

poll_directly(os.environ)

from slipway.executor import rest_client  # noqa: E402  - as slipway/executor/__main__.py
from slipway.executor.main import main  # noqa: E402
from slipway.executor.payload import Wire  # noqa: E402

if __name__ == "__main__":
    setattr(rest_client.RestNodes, "takes", lambda _self, _node: Wire.JSON)  # noqa: B010  - said as what it is
    sys.exit(main())
