"""Cfg keys that change what Darknet computes or reads, and that this library follows only at the values listed here.

From the ``parse_*`` functions of pjreddie's and AlexeyAB's ``parser.c``; an empty tuple means that any value is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

Values = Mapping[str, tuple[str, ...]]

_OFF = ("0",)
_LOADING: Values = {"dontload": _OFF, "dontloadscales": _OFF, "numload": _OFF}
_HEAD: Values = {"embedding_layer": (), "map": ()}

_BY_KIND: Mapping[str, Values] = {
    "convolutional": {
        "antialiasing": _OFF,
        "assisted_excitation": _OFF,
        "bin_output": _OFF,
        "binary": _OFF,
        "cbn": _OFF,
        "coordconv": _OFF,
        "dilation": ("1",),
        "flipped": _OFF,
        "reverse": _OFF,
        "rotate": _OFF,
        "share_index": (),
        "stretch": _OFF,
        "stretch_sway": _OFF,
        "stride_x": (),
        "stride_y": (),
        "sway": _OFF,
        "xnor": _OFF,
    },
    "maxpool": {
        "antialiasing": _OFF,
        "maxpool_depth": _OFF,
        "maxpool_zero_nonmax": _OFF,
        "stride_x": (),
        "stride_y": (),
    },
    "reorg": {"extra": _OFF, "flatten": _OFF},
    "shortcut": {"alpha": ("1",), "beta": ("1",), "weights_normalization": ("none",), "weights_type": ("none",)},
    "yolo": {"new_coords": _OFF, "nms_kind": ("default", "greedynms"), **_HEAD},
    "region": {"background": _OFF, "classfix": ("0", "1"), "tree": (), **_HEAD},
}


def fixed_keys(kind: str) -> Values:
    """Key → the values that change nothing, for layers of ``kind``."""
    return {**_LOADING, **_BY_KIND.get(kind, {})}
