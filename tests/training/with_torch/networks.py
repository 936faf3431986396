"""Small networks that learn in a moment."""

from __future__ import annotations

from pathlib import Path

CFG = """[net]
width=96
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=1
pad=1
activation=mish

[shortcut]
from=-2
activation=linear

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=24
size=3
stride=1
pad=1
activation=leaky

[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0,1
anchors=16,16, 24,24
classes=2
num=2
"""


def write_cfg(folder: Path, text: str = CFG) -> Path:
    path = folder / "small.cfg"
    path.write_text(text)
    (folder / "small.names").write_text("disc\nblock\n")
    return path
