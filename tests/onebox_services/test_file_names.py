"""The longest names that the API takes have files: of Pods, of claims, of certificates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.file_names import MAX_FILE_NAME_BYTES, file_name
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.write import replace_file
from slipway.onebox.paths import Paths

NAMESPACE, NAME, UID = "n" * 63, "p" * 253, "01234567-89ab-cdef-0123-456789abcdef"
TEXTS = st.text("ab", min_size=240, max_size=360)


@given(TEXTS, TEXTS, st.sampled_from(["", ".json"]))
def test_no_file_name_is_too_long_and_different_texts_have_different_ones(one: str, other: str, suffix: str) -> None:
    names = {file_name(text, suffix=suffix) for text in (one, other)}
    assert len(names) == len({one, other})
    assert all(len(name) <= MAX_FILE_NAME_BYTES and name.endswith(suffix) for name in names)


def test_name_that_fits_stays_as_it_is() -> None:
    """Homes of earlier releases have such names."""
    assert file_name("default_web-1_uid") == "default_web-1_uid"
    assert file_name("a" * MAX_FILE_NAME_BYTES) == "a" * MAX_FILE_NAME_BYTES
    assert file_name("a" * 250, suffix=".json") == f"{'a' * 250}.json"


def test_longest_pod_has_a_folder(tmp_path: Path) -> None:
    folder = Paths(tmp_path).pod(NAMESPACE, NAME, UID)
    assert not folder.exists()
    folder.mkdir(parents=True)
    assert folder != Paths(tmp_path).pod(NAMESPACE, NAME, UID[::-1])


def test_longest_certificate_has_a_file(tmp_path: Path) -> None:
    layout = Layout(Paths(tmp_path))
    layout.paths.mesh.mkdir()
    path = layout.certificate(NAMESPACE, NAME)
    assert replace_file(path, "{}")
    assert [path] == list(layout.paths.mesh.glob("certificate-*.json"))


def test_file_system_would_not_have_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(36)):
        (tmp_path / f"{NAMESPACE}_{NAME}_{UID}").exists()
