"""`python -m slipway.executor`."""

import os
import sys

from slipway.serving.polling import poll_directly

poll_directly(os.environ)

from slipway.executor.main import main  # noqa: E402  - gRPC reads the environment when it is imported

if __name__ == "__main__":
    sys.exit(main())
