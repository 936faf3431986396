"""A pickle from outside the registry: refused with the line that allows it, accepted with that line, as the process does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.contract.model_digests import digest_of
from slipway.contract.sdep import PredictorSpec


def initializer(uri: str, folder: Path, cache: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPWAY_", "MLFLOW_", "AWS_"))}
    return subprocess.run(
        (sys.executable, "-m", "slipway.storage", uri, str(folder)),
        env={**kept, "SLIPWAY_MODEL_CACHE": str(cache), **env},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(b"a pickle")
    return folder


def test_unsigned_pickle_is_refused_with_the_line_that_allows_it(model, tmp_path):
    place, cache = tmp_path / "mnt", tmp_path / "cache"
    done = initializer(f"file://{model}", place, cache, SLIPWAY_UNPICKLED_BY="main/clf")
    assert done.returncode == 1
    assert not place.exists()
    line = re.search(r'predictor main: (slipway.dev/model-sha256): "(clf=sha256:[0-9a-f]{64})"', done.stderr)
    assert line, done.stderr
    predictor = PredictorSpec.from_json({"name": "main", "graph": {"name": "clf"}, "annotations": {line[1]: line[2]}})
    digest = digest_of(predictor, "clf")
    assert digest is not None
    done = initializer(f"file://{model}", place, cache, SLIPWAY_MODEL_DIGEST=digest)
    assert done.returncode == 0, done.stderr
    assert (place / "model.joblib").read_bytes() == b"a pickle"


def test_changed_pickle_is_refused_with_both_digests(model, tmp_path):
    done = initializer(
        f"file://{model}", tmp_path / "mnt", tmp_path / "cache", SLIPWAY_MODEL_DIGEST=f"sha256:{'0' * 64}"
    )
    assert done.returncode == 1
    assert "registered as sha256:000" in done.stderr


def test_what_nobody_unpickles_needs_no_digest(model, tmp_path):
    done = initializer(f"file://{model}", tmp_path / "mnt", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
