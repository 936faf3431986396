"""What a manifest's values are: for every form of a scalar, a key and a merge the same as the real kubectl reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.kube.manifests import ManifestError, parse_manifests

HEAD = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\n"
BOOLEANS = "y Y n N yes Yes YES yEs no No NO nO on On ON oN off Off OFF oFF true True TRUE tRue false False FALSE fAlse"
NULLS = "null Null NULL nUll ~ ~~"
INTEGERS = (
    "0 -0 1 -1 +1 007 010 -010 +010 08 09 +08 0o17 0O17 -0o17 0b11 -0b11 0B11 0b12 0b 0x1F 0X1f -0x1F +0x1F 0x 0x1F_F 1_000 1__0 1_ "
    "_1 0_7 0_8 0x_1 0x_ +_1 9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 "
    "-9223372036854775808 -9223372036854775809 +9223372036854775808 0xffffffffffffffff +0xffffffffffffffff "
    "0x1ffffffffffffffff 0777777777777777777777777 123456789012345678901234567890"
)
FLOATS = (
    "1.0 1.10 100.0 -0.0 1. .5 -.5 +.5 .5e2 -.5e1 +.5E-1 ._5 .5_0 -._5 5._ 1.e3 1e3 1E3 1e+3 1e-7 1.5e3 +1e3 12e03 1e 1e5_0 1e20 1e21 "
    "1e400 -1e400 0x1p-2 inf nan Infinity 1_000.5 3.14159265358979 0.000001"
)
TEXTS = (
    ". + -- 1.2.3 .1.2 1:2 60:30 190:20:30.15 1_2:3 2026-01-02 2026-01-02T03:04:05Z 2026-01-02T03:04:05+01:00 = << y1 on/off None "
    "'y' \"1\" !!str|1 !!str|y !!str|~ !!int|'3' !!int|'0b11' !!bool|'yes' !!float|1 !!float|'1.5' !!null|''"
)
TABLE = tuple(word.replace("|", " ") for word in f"{BOOLEANS} {NULLS} {INTEGERS} {FLOATS} {TEXTS}".split())
BLOCKS = (
    "y: 1",
    "n: {on: 2}",
    "'y': 1",
    "010: a",
    "0x10: a",
    "-5: a",
    "1.0: a",
    "1e3: a",
    "2026-01-02: a",
    "a:",
    "a: |\n      y",
    "a: >-\n      1",
    "- y\n    - 1\n    -\n    - ~",
    "'<<': {a: 1}",
    "<<: {a: 1}\n    b: 2",
    "a: 3\n    <<: {a: 1}",
    "<<: {a: 1}\n    a: 3",
    "a: &x {p: 1, q: 2}\n    b: {<<: *x, q: 3}\n    c: *x",
    "a: &z {p: 1}\n    b: &y {<<: *z, p: 2}\n    c: {<<: [*y, *z], <<: {r: n}}",
    "b: {<<: [{p: 1}, {p: 2, r: 3}]}",
)
WORDS = st.one_of(
    [st.text(letters, min_size=1, max_size=8) for letters in ("+-._0123eE", "+-0_1x7boOBXeF", "nNoOyYesSfF~:.a1")]
).filter(
    lambda word: word != "-" and not word.endswith(":") and word.lower() != ".nan"  # an item, a key, no JSON
)


@pytest.fixture(scope="module", autouse=True)
def _kubectl() -> None:
    assert shutil.which("kubectl"), "what kubectl reads is compared with kubectl"


def whole_by_kubectl(text: str) -> Any:
    command = ["kubectl", "annotate", "--local", "-f", "-", "-o", "json", "read=true"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def read_by_kubectl(text: str) -> Any:
    return whole_by_kubectl(HEAD + text)["spec"]


def read(text: str) -> Any:
    return parse_manifests(HEAD + text, origin="here")[0]["spec"]


def of_scalars(words: Sequence[str]) -> str:
    return "spec:\n" + "".join(f"- {word}\n" for word in words)


def named(words: Sequence[str], values: Sequence[Any]) -> list[tuple[str, str, Any]]:
    """Each with its type, as ``1 == True`` in Python. Above 64 bits kubectl writes a float as an integer."""
    kinds = {int: "number", float: "number"}
    return [
        (word, kinds.get(type(value), type(value).__name__), float(value) if is_large(value) else value)
        for word, value in zip(words, values, strict=True)
    ]


def is_large(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > 2**63


def test_scalars_are_what_kubectl_reads() -> None:
    text = of_scalars(TABLE)
    assert named(TABLE, read(text)) == named(TABLE, read_by_kubectl(text))


@pytest.mark.parametrize("word", [".inf", "-.INF", "+.Inf", ".NaN"])
def test_what_has_no_json_form_is_refused(word: str) -> None:
    with pytest.raises(ManifestError, match="no JSON form"):
        read(f"spec: [{word}]")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1.10: a", "here:5:3: '1.10' as a key is no text: write it in quotes"),
        ("null: a", "here:5:3: 'null' as a key is no text: write it in quotes"),
        ("? [a]\n  : b", "here:5:5: a list or a mapping as a key is no text"),
        ("a: !!int x", "here:5:6: 'x' is no !!int"),
        ("a: !!bool 1", "here:5:6: '1' is no !!bool"),
        ("a: !!set {b}", "here:5:6: the tag !!set means nothing in a manifest"),
        ("a: !mine b", "here:5:6: the tag !mine means nothing in a manifest"),
        ("<<: a", "here:5:7: a merge takes a mapping, or a list of mappings"),
        ("y: 1\n  true: 2", "here:6:3: key 'true' comes twice"),
        ("1: a\n  '1': b", "here:6:3: key '1' comes twice"),
        ("a: &a {b: *a}", "here:5:6: an anchor is inside itself"),
    ],
)
def test_what_kubectl_would_lose_or_refuse_is_refused_with_its_place(line: str, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(f"spec:\n  {line}\n")
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("before", ["", "\ufeff", "\n \n", "# tabs\n", "---\n"])
def test_json_with_tabs_is_what_kubectl_reads(before: str) -> None:
    spec = {"a": [1, 2.5, "x\ty", None, True, {"n": "y"}], "b": {}}
    thing = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec}
    text = before + json.dumps(thing, indent="\t").replace('": ', '"\t:\t')
    (found,) = parse_manifests(text, origin="here")
    assert found == thing
    assert whole_by_kubectl(text)["spec"] == spec


def test_long_numbers_are_what_kubectl_reads() -> None:
    words = [
        "9" * 5000,
        "0." + "0" * 5000 + "1",
        "0x" + "f" * 5000,
        "0" * 5000 + "7",
        "1" + "0" * 30,
        "0b" + "0" * 5000 + "1",
    ]
    assert named(words, read(of_scalars(words))) == named(words, read_by_kubectl(of_scalars(words)))


def test_aliases_of_aliases_are_refused_before_they_are_unfolded() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))]
    with pytest.raises(ManifestError, match="more than 4000000 values"):
        read("spec:\n" + "".join(f"  {line}\n" for line in lines))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(words=st.lists(WORDS, min_size=100, max_size=200))
def test_any_word_is_what_kubectl_reads(words: list[str]) -> None:
    text = of_scalars(words)
    assert named(words, read(text)) == named(words, read_by_kubectl(text))


def test_keys_and_merges_are_what_kubectl_reads() -> None:
    text = "spec:\n" + "".join(f"- x:\n    {block}\n" for block in BLOCKS)
    assert json.dumps(read(text), sort_keys=True, indent=1) == json.dumps(
        read_by_kubectl(text), sort_keys=True, indent=1
    )
