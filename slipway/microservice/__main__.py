"""`python -m slipway.microservice`."""

import os

from slipway.serving.polling import poll_directly

poll_directly(os.environ)

from slipway.microservice.main import entry  # noqa: E402  - gRPC reads the environment when it is imported

entry()
