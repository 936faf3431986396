"""Times with a fraction are refused in Go's words where they have none."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.onebox.api.errors import Refused
from slipway.onebox.api.schema import decode
from slipway.onebox.api.types import load_types

PREFIX = 'Lease in version "v1" cannot be handled as a Lease: parsing time "{}" as "2006-01-02T15:04:05.000000Z07:00": '


@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("2026-01-01T00:00:00Z", 'cannot parse "Z" as ".000000"'),  # as recorded (15-8)
        ("yesterday", 'cannot parse "yesterday" as "2006"'),
    ],
)
def test_a_time_without_its_fraction_is_refused_in_gos_words(time: str, why: str) -> None:
    lease: dict[str, Any] = {"spec": {"renewTime": time}}
    with pytest.raises(Refused) as refused:
        decode(load_types()["Lease"], lease, kind="Lease")
    assert refused.value.message == PREFIX.format(time) + why
