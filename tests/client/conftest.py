"""A deployment over each wire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.servers import Deployment, deployment


@pytest.fixture(params=["rest", "grpc"])
async def yolo(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    async with deployment(request.param) as found:
        yield found
