"""``seldon-core-microservice`` 1.17.1 that reads annotations where a variable says, not at the fixed /etc/podinfo."""

import os

from seldon_core import microservice

microservice.ANNOTATIONS_FILE = os.environ["SLIPWAY_ANNOTATIONS_FILE"]
microservice.main()
