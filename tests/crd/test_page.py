"""docs/admission.md says what is there."""

from __future__ import annotations

import re

import pytest

from slipway.crd.schema import MAX_CHILDREN, MAX_NAME, MAX_PREDICTORS
from slipway.webhook import answer, certificates, options, server
from slipway.webhook.__main__ import LOOK_EVERY_S
from tests.crd.test_rules import WEBHOOK_ONLY
from tests.data import REPOSITORY

PAGE = (REPOSITORY / "docs/admission.md").read_text()


def test_table_of_rules_is_the_definitions():
    (numbers,) = re.findall(r"(?m)^\| rule (.*)\|$", PAGE)
    (marks,) = re.findall(r"(?m)^\| in the definition (.*)\|$", PAGE)
    found = dict(zip(numbers.strip("| ").split(" | "), marks.split("|")[1:], strict=True))
    assert {int(number) for number, mark in found.items() if not mark.strip()} == WEBHOOK_ONLY
    assert f"{21 - len(WEBHOOK_ONLY)} of the 21 rules" in PAGE


@pytest.mark.parametrize(
    "words",
    [
        f"{MAX_PREDICTORS} predictors, {MAX_CHILDREN} children of the root, {MAX_NAME} characters",
        f"| certificate | {certificates.CERTIFICATE_DAYS} days | when {certificates.CERTIFICATE_LEFT_DAYS} are left |",
        f"| authority | {certificates.AUTHORITY_DAYS // 365} years | when {certificates.AUTHORITY_LEFT_DAYS} days are left;",
        f"signs after {certificates.TOLD.total_seconds() / 60:g} minutes. What a clock more than an hour ahead made",
        f"A body of {server.MAX_BODY_BYTES // 2**20} MiB, {server.MAX_REVIEWS} reviews at once",
        f"names {answer.MAX_CAUSES} causes at most. After SIGTERM reviews are answered for {options.DRAIN_S:g} s more",
        f"{server.BODY_WITHIN_S:g} s for a body and for a handshake, {server.MAX_CONNECTIONS} connections",
    ],
)
def test_numbers_of_the_page_are_the_codes(words):
    assert words in PAGE


def test_a_minute_is_a_minute():
    assert LOOK_EVERY_S == 60
    assert certificates.SKEW.total_seconds() == 3600
    assert "every minute" in PAGE
    assert server.BODY_WITHIN_S == server.HANDSHAKE_WITHIN_S


def test_folders_of_the_page_are_there():
    named = set(re.findall(r"`(kubernetes/[a-z/-]+)`", PAGE))
    assert len(named) >= 5
    assert [name for name in named if not (REPOSITORY / name).is_dir()] == []
