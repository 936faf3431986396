"""The blood-cell model is as good on real photos as its README says."""

from __future__ import annotations

import pytest

from model_wrappers.darknet import Detector, check, load_model_folder
from model_wrappers.darknet.training.precision import CONFIDENCE, detector_precision
from model_wrappers.darknet.training.voc import load_voc
from tests.data import REPOSITORY, SHARED_DATA

FOLDER = REPOSITORY / "models" / "bccd"


def test_its_files_belong_together() -> None:
    model = load_model_folder(FOLDER)
    summary = check(model.cfg_path, model.weights_path, model.names_path)
    assert (summary.width, summary.height, summary.names) == (320, 256, ("RBC", "WBC", "Platelets"))
    assert f"{summary.floats:,} parameters" in (FOLDER / "README.md").read_text()


@pytest.mark.data
def test_it_finds_the_cells_of_the_test_split() -> None:
    """Photos that neither its training nor its validation saw, through the engine that serves it."""
    photos = load_voc(SHARED_DATA / "bccd", "test", ("RBC", "WBC", "Platelets"))
    found = detector_precision(Detector(FOLDER, confidence=CONFIDENCE), photos)
    assert found.map50 >= 0.60
    readme = (FOLDER / "README.md").read_text()
    assert f"| mean | **{found.map50:.3f}** |" in readme
    for name, value in found.classes.items():
        assert f"| {name} | {value:.3f} |" in readme
