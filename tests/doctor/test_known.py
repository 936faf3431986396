"""What is known is said though something else is not, and what is only almost in order is not called in order."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from slipway.doctor.check import Check
from slipway.doctor.checks import permissions
from slipway.doctor.checks.controller import CLOCKS
from slipway.doctor.facts import Unanswered
from slipway.doctor.finding import Finding
from tests.doctor.cluster import NOW, TEAM, Cluster, secret
from tests.doctor.test_findings import of

SILENT = Unanswered("no answer within 8 s")
USER, CONTROLLER, INSTALLER = permissions.CHECKS


@pytest.mark.parametrize("check", [USER, CONTROLLER, INSTALLER], ids=["user", "controller", "installer"])
def test_a_review_without_an_answer_hides_no_refusal(check: Check) -> None:
    first, *others = check.permissions(TEAM)
    facts = Cluster().facts()
    may = {**facts.may, first: SILENT, **dict.fromkeys(others, False)}
    found = check.findings(dataclasses.replace(facts, may=may))
    assert all(str(permission) in found[0].what for permission in others)
    assert found[0].level == ("n/a" if check is INSTALLER else "fail")
    unknown = [] if check is INSTALLER else [f"{first} (no answer within 8 s)"]
    assert [item.what.partition(": ")[2] for item in found[1:]] == unknown


@pytest.mark.parametrize("check", [USER, CONTROLLER, INSTALLER], ids=["user", "controller", "installer"])
def test_reviews_without_an_answer_are_no_permission(check: Check) -> None:
    first, second, *_ = check.permissions(TEAM)
    facts = Cluster().facts()
    (found,) = check.findings(dataclasses.replace(facts, may={**facts.may, first: SILENT, second: SILENT}))
    assert found.level == "unknown"
    assert found.what.endswith(f": {first}, {second} (no answer within 8 s)")


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (301, "fail"), (401, "fail"), (404, "fail"), (502, "fail")])
def test_only_health_that_answers_200_is_mlflow(status: int, level: str) -> None:
    cluster = Cluster(statuses={"MLflow": status})
    cluster.drop("Secret", "slipway-model-storage")
    cluster.objects.append(secret(MLFLOW_TRACKING_URI="https://wrong.example.com/app"))
    (found,) = [item for item in of(cluster, "models") if item.what.startswith("MLflow")]
    assert found.level == level
    assert f"https://wrong.example.com/app/health answers {status} without credentials" in found.what
    assert bool(found.repair) is (level == "fail")


@pytest.mark.parametrize("status", [200, 401, 403])
def test_a_store_that_asks_for_credentials_is_in_order(status: int) -> None:
    assert {item.level for item in of(Cluster(statuses={"S3": status}), "models")} == {"ok"}


@pytest.mark.parametrize(("ahead", "level"), [(CLOCKS, "ok"), (CLOCKS + timedelta(seconds=1), "warn")])
def test_a_lease_may_be_renewed_as_far_ahead_as_clocks_differ(ahead: timedelta, level: str) -> None:
    cluster = Cluster()
    cluster.get("Lease")["spec"]["renewTime"] = (NOW + ahead).isoformat()
    found: list[Finding] = [item for item in of(cluster, "controller") if item.where.endswith("/slipway-controller")]
    assert found[-1].level == level


@pytest.mark.parametrize("seen", [4, None])
def test_a_status_of_the_newest_generation_or_of_none_is_current(seen: int | None) -> None:
    cluster = Cluster()
    cluster.get("SeldonDeployment")["metadata"]["generation"] = 4
    if seen is not None:
        cluster.get("SeldonDeployment")["status"]["observedGeneration"] = seen
    assert [item.level for item in of(cluster, "deployments")] == ["ok"]


def test_a_failure_of_before_the_last_change_is_no_failure_of_now() -> None:
    cluster = Cluster()
    cluster.get("SeldonDeployment")["metadata"]["generation"] = 5
    cluster.get("SeldonDeployment")["status"] = {"state": "Failed", "description": "old", "observedGeneration": 4}
    (found,) = of(cluster, "deployments")
    assert (found.level, found.what.rpartition(" ")[2]) == ("warn", "Failed")


def test_a_quota_that_is_seen_needs_no_list_of_namespaces() -> None:
    assert [item.level for item in of(Cluster(silent={"namespaces"}), "quota")] == ["ok"]
