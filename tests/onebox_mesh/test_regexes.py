"""Which regular expressions Envoy takes is known without asking it, and it agrees."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.loop import site
from slipway.onebox.mesh.refusals import problem_of
from slipway.onebox.mesh.regexes import regex_problem
from slipway.onebox.mesh.translate import translate
from slipway.onebox.paths import Paths
from tests.onebox_mesh.world import virtual_service, world

TAKEN = (
    ".*seldon.protos.*|.*inference.*", "^/a(/?)(.*)$", "(?i)yolo", "(?P<a>x)(?P<a>y)", "(?<1a>x)", "a+b*c?", "a*?b+?c??",
    r"/v\d+\.\d+\z", r"\Qa+b(\E", r"\Qa(", r"\pN\p{Greek}\P{^L}", r"\x41\x{ff}\101\0", "(?sU:a)b(?-i)c(?)", r"\A\b\B",
    "[[:alpha:]_-]", "[]a]", "[^]a]", r"[\]\[\d-]", r"[a*+]", r"[\x{41}-Z]", "a{,5}", "a{x", "a}", r"a\*+", r"\\1", "é",
    r"(?i)" + r"\pL" * 8, r"\_", "((a{10}b){10}){10}", "^*", r"\b*", r"[\d-z]",
)  # fmt: skip
REFUSED = (
    "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1", "(?P<a>x)(?P=a)", "(?>a)", "(a)(?(1)b|c)", "(?#a)", "(?x)a", "a++", "a*+",
    "a{2}+", "a**", "a{1001}", "a{3,2}", "((a{10}b){10}){11}", "(", "a)", "[a", "*a", "[z-a]", r"a\Z", "\\", r"\u0041",
    r"\N{DIGIT ONE}", r"\y", r"[\b]", r"[\z]", r"\x{100}", "[[:nobody:]]", r"\é", r"\8", r"\1",
    r"\p{Nobody}", "[a-z]{1000}" * 5,
)  # fmt: skip


@pytest.mark.parametrize("pattern", TAKEN)
def test_regex_that_re2_takes_is_fine(pattern):
    assert regex_problem(pattern) is None


@pytest.mark.parametrize("pattern", [*REFUSED, "a" * 1025, r"(?i)\pL\P{Greek}" + r"\pN" * 7])
def test_regex_that_re2_does_not_take_is_named(pattern):
    assert regex_problem(pattern)


@given(st.text(st.sampled_from("ab01[]{}()?*+^$|\\.,:-<>=!PQEdxzZ"), max_size=12))
def test_any_text_is_judged_and_taken_where_it_means_itself(text):
    regex_problem(text)
    assert regex_problem(re.escape(text)) is None


def _routes(patterns, tmp_path):
    """A mesh whose routes have these regexes, whatever we think of them."""
    layout = Layout(Paths(tmp_path))
    mesh = translate(world([virtual_service({"stable": 0})], {"stable": {"127.20.0.1": True}}), site("127.0.0.1", 8080))
    (host,) = mesh.virtual_hosts
    route = host.routes[0]
    routes = tuple(replace(route, match=replace(route.match, kind="regex", path=pattern)) for pattern in patterns)
    layout.paths.mesh.mkdir(exist_ok=True)
    return replace(mesh, virtual_hosts=(replace(host, routes=routes),)), layout


@pytest.mark.e2e
async def test_envoy_agrees(tmp_path):
    assert await problem_of(*_routes(TAKEN, tmp_path)) is None
    for pattern in REFUSED:
        problem = await problem_of(*_routes([pattern], tmp_path))
        assert problem, pattern
