from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from slipway.kube.kinds import VIRTUAL_SERVICE
from slipway.onebox.mesh.findings import Findings, event_of, uid_of
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.limits import FINDING_SETTLE_S

ODD = Finding("VirtualService", "default", "yolo", "spec.http[0].fault", "not supported")


def test_finding_is_reported_once_and_only_if_it_lasts():
    findings = Findings()
    findings.update([ODD], 0)
    assert findings.due(0) == []
    assert findings.due(FINDING_SETTLE_S) == [ODD]
    findings.update([ODD], FINDING_SETTLE_S)
    assert findings.due(FINDING_SETTLE_S * 9) == []


def test_finding_that_went_and_came_back_is_reported_again():
    findings = Findings()
    findings.update([ODD], 0)
    assert findings.due(9) == [ODD]
    findings.update([], 10)
    findings.update([ODD], 11)
    assert findings.due(12) == []
    assert findings.due(11 + FINDING_SETTLE_S) == [ODD]


def test_event_names_the_object_and_the_field():
    event = event_of(ODD, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), uid="u-1")
    assert event["involvedObject"] == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "namespace": "default",
        "name": "yolo",
        "uid": "u-1",
    }
    assert (event["type"], event["message"]) == ("Warning", "spec.http[0].fault: not supported")
    assert event["firstTimestamp"] == "2026-01-02T03:04:05Z"


def test_uid_is_the_object_s_own_and_empty_where_it_went():
    followed = {VIRTUAL_SERVICE: {("default", "yolo"): {"metadata": {"uid": "u-1"}}}}
    assert uid_of(ODD, followed.__getitem__) == "u-1"
    assert uid_of(ODD, lambda _: {}) == ""
    assert uid_of(ODD, lambda _: {("default", "yolo"): {"metadata": {}}}) == ""
    assert uid_of(replace(ODD, kind="None"), followed.__getitem__) == ""
