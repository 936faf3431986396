"""`python -m slipway.microservice`."""

import os

from slipway.serving.imports import lasting_imports
from slipway.serving.polling import poll_directly

poll_directly(os.environ)

with lasting_imports():
    from slipway.microservice.main import entry  # after poll_directly: gRPC reads the environment

entry()
