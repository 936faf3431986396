"""images/README.md lists every image, with the lock that its image.yaml names."""

from __future__ import annotations

import re

from slipway.onebox.images.spec import load_image_spec
from tests.data import REPOSITORY

ROW = re.compile(r"^\| `(?P<image>[a-z-]+)` \| [^|]+ \| `(?P<lock>[a-z-]+)` \| (?P<size>[^|]+) \|$", re.MULTILINE)


def test_the_table_has_a_row_for_each_image() -> None:
    rows = {found["image"]: found["lock"] for found in ROW.finditer((REPOSITORY / "images" / "README.md").read_text())}
    specs = [load_image_spec(path.parent) for path in sorted((REPOSITORY / "images").glob("*/image.yaml"))]
    assert rows == {spec.folder.name: spec.requirements.stem for spec in specs}
