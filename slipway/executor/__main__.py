"""`python -m slipway.executor`."""

import os
import sys

from slipway.serving.imports import lasting_imports
from slipway.serving.polling import poll_directly

poll_directly(os.environ)

with lasting_imports():
    from slipway.executor.main import main  # after poll_directly: gRPC reads the environment

if __name__ == "__main__":
    sys.exit(main())
