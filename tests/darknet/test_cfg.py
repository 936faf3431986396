from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.darknet.cfg import load_network, parse_network
from model_wrappers.darknet.errors import CfgError
from model_wrappers.darknet.layers import Convolutional, MaxPool, Region, Route, Yolo
from model_wrappers.darknet.sections import MAX_CFG_BYTES, MAX_SECTIONS
from tests.darknet.networks import TAIL, cfg_texts
from tests.data import SHARED_DATA

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"

# what is wrong, cfg, the whole message
REFUSED = [
    ("empty", "", "x.cfg: is empty: a cfg starts with [net]"),
    ("no net", CONV, "x.cfg:1: the first section is [convolutional]: a cfg starts with [net]"),
    ("option first", "width=3\n[net]\n", "x.cfg:1: 'width=3' stands before any [section]: a cfg starts with [net]"),
    ("open bracket", "[net\nwidth=3\n", "x.cfg:1: '[net' is no [section]"),
    ("no equals", "[net]\nwidth\n", "x.cfg:2: [net]: 'width' is not key=value"),
    ("twice", NET + "width=9\n", "x.cfg:5: [net]: 'width' stands already on line 2"),
    ("missing", "[net]\nwidth=8\nheight=8\n", "x.cfg:1: [net]: 'channels' is missing"),
    ("grey", "[net]\nwidth=8\nheight=8\nchannels=1\n", "x.cfg:4: [net]: channels=1 is not between 3 and 3"),
    ("huge", "[net]\nwidth=8\nheight=99999\nchannels=3\n", "x.cfg:3: [net]: height=99999 is not between 1 and 4096"),
    ("capitals", "[NET]\n", "x.cfg:1: the first section is [NET]: a cfg starts with [net]"),
    ("inputs", NET + "inputs=5\n", "x.cfg:5: [net]: inputs=5 is not between 192 and 192"),
    ("no head", NET + CONV, "x.cfg: has no [yolo] or [region] layer: not a detector"),
    (
        "unknown layer",
        NET + "[lstm]\n",
        "x.cfg:5: layer 0 [lstm]: unknown layer: this library knows convolutional, dropout, maxpool, region, reorg, route, shortcut, upsample, yolo",
    ),
    (
        "unknown key",
        NET + CONV + "strdie=1\n",
        "x.cfg:10: layer 0 [convolutional]: unknown key 'strdie': did you mean 'stride'?",
    ),
    (
        "far key",
        NET + "[upsample]\nzzz=1\n",
        "x.cfg:6: layer 0 [upsample]: unknown key 'zzz': known here: scale, stride",
    ),
    (
        "comment behind a number",
        NET + "[convolutional]\nsize=3#big\n",
        "x.cfg:6: layer 0 [convolutional]: size='3#big': a whole number of at most 9 digits is expected",
    ),
    (
        "activation",
        NET + "[convolutional]\nactivation=elu\n",
        "x.cfg:6: layer 0 [convolutional]: activation=elu is not one of leaky, linear, logistic, mish, relu, relu6, swish",
    ),
    (
        "groups",
        NET + "[convolutional]\nfilters=4\ngroups=2\nactivation=linear\n",
        "x.cfg:5: layer 0 [convolutional]: groups=2 does not divide both 3 channels and filters=4",
    ),
    (
        "too large a kernel",
        NET + "[convolutional]\nsize=9\n",
        "x.cfg:5: layer 0 [convolutional]: nothing is left of its input 8 x 8 x 3: the output would be 0 x 0 x 1",
    ),
    (
        "too large an output",
        NET + "[upsample]\nstride=64\n[upsample]\nstride=64\n",
        "x.cfg:7: layer 1 [upsample]: the output 32768 x 32768 x 3 has 3221225472 elements: at most 268435456 are possible",
    ),
    (
        "route ahead",
        NET + CONV + "[route]\nlayers=1\n",
        "x.cfg:11: layer 1 [route]: layers=1 is layer 1: only layers 0 to 0 come before",
    ),
    (
        "route too far back",
        NET + CONV + "[route]\nlayers=-2\n",
        "x.cfg:11: layer 1 [route]: layers=-2 is layer -1: only layers 0 to 0 come before",
    ),
    (
        "route of two sizes",
        NET + CONV + "[maxpool]\nstride=2\n[route]\nlayers=0,1\n",
        "x.cfg:13: layer 2 [route]: joins 8 x 8 x 4 and 4 x 4 x 4: width and height must be equal",
    ),
    (
        "route groups",
        NET + CONV + "[route]\nlayers=0\ngroups=3\n",
        "x.cfg:12: layer 1 [route]: groups=3 does not divide 4 channels",
    ),
    (
        "route group_id",
        NET + CONV + "[route]\nlayers=0\ngroups=2\ngroup_id=2\n",
        "x.cfg:13: layer 1 [route]: group_id=2 is not between 0 and 1",
    ),
    (
        "shortcut of two shapes",
        NET + CONV + CONV.replace("=4", "=5") + "[shortcut]\nfrom=-2\n",
        "x.cfg:16: layer 2 [shortcut]: adds 8 x 8 x 4 to 8 x 8 x 5: both must have one shape",
    ),
    (
        "shortcut of three",
        NET + CONV + CONV + "[shortcut]\nfrom=-2,-1\n",
        "x.cfg:16: layer 2 [shortcut]: from lists 2 layers: one is possible",
    ),
    (
        "reorg channels",
        NET + "[reorg]\nstride=2\n",
        "x.cfg:6: layer 0 [reorg]: stride=2 needs channels divisible by 4: found 3",
    ),
    (
        "reorg sides",
        NET + CONV.replace("=4", "=9") + "[reorg]\nstride=3\n",
        "x.cfg:11: layer 1 [reorg]: stride=3 does not divide the input 8 x 8 x 9",
    ),
    (
        "stretch",
        NET + CONV + "[yolo]\nanchors=1,1\nscale_x_y=99\n",
        "x.cfg:12: layer 1 [yolo]: scale_x_y=99 is not between 0.1 and 10",
    ),
    (
        "head channels",
        NET + CONV + "[yolo]\nanchors=1,1\nclasses=2\n",
        "x.cfg:10: layer 1 [yolo]: 1 anchors of 2 classes need 7 channels: the layer before gives 4 (its filters= must be 7)",
    ),
    (
        "anchors",
        NET + CONV + "[yolo]\nanchors=1,1,2\nnum=2\n",
        "x.cfg:11: layer 1 [yolo]: anchors lists 3 numbers: num=2 needs 4",
    ),
    (
        "anchor zero",
        NET + CONV + "[yolo]\nanchors=1,0\n",
        "x.cfg:11: layer 1 [yolo]: anchors are widths and heights: all must be above 0",
    ),
    (
        "mask",
        NET + CONV + "[yolo]\nanchors=1,1\nmask=1\n",
        "x.cfg:12: layer 1 [yolo]: mask=1 does not pick distinct anchors of 0..0",
    ),
    (
        "not finite",
        NET + CONV + "[yolo]\nanchors=1,1e999\n",
        "x.cfg:11: layer 1 [yolo]: anchors='1e999': a number is expected",
    ),
    (
        "behind a head",
        NET + TAIL + "[upsample]\n",
        "x.cfg:12: layer 2 [upsample]: takes the output of layer 1 [yolo]: nothing can follow a head but [route]",
    ),
    (
        "two class counts",
        NET
        + TAIL
        + "[route]\nlayers=0\n[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\n",
        "x.cfg:17: layer 4 [yolo]: classes=1, but layer 1 has classes=2",
    ),
    ("too many layers", "[net]\n" + "[dropout]\n" * (MAX_SECTIONS + 1), "x.cfg:2002: has more than 2000 layers"),
    (
        "too much memory",
        "[net]\nwidth=4096\nheight=4096\nchannels=3\n" + "[conv]\nfilters=16\n" * 5 + TAIL,
        "x.cfg:13: layer 4 [convolutional]: up to here a photo takes 1342177280 elements: at most 1073741824 are possible",
    ),
    (
        "too much work",
        "[net]\nwidth=4096\nheight=4096\nchannels=3\n[conv]\nfilters=16\nsize=63\npad=1\n" + TAIL,
        (
            "x.cfg:5: layer 0 [convolutional]: up to here a photo takes 3196260974592 multiplications: "
            "at most 1099511627776 are possible"
        ),
    ),
    (
        "too large a pool",
        "[net]\nwidth=4096\nheight=4096\nchannels=3\n" + "[maxpool]\nsize=64\nstride=1\n" * 6 + TAIL,
        (
            "x.cfg:20: layer 5 [maxpool]: up to here a photo takes 1236950581248 multiplications: "
            "at most 1099511627776 are possible"
        ),
    ),
    (
        "coordinates of YOLOv4-CSP",
        NET + CONV + "[yolo]\nanchors=1,1\nnew_coords=1\n",
        "x.cfg:12: layer 1 [yolo]: new_coords=1 changes what Darknet computes: only new_coords=0 is possible",
    ),
    (
        "suppression by distance",
        NET + CONV + "[yolo]\nanchors=1,1\nnms_kind=diounms\n",
        (
            "x.cfg:12: layer 1 [yolo]: nms_kind=diounms changes what Darknet computes: "
            "only nms_kind=default or nms_kind=greedynms is possible"
        ),
    ),
    (
        "word tree",
        NET + CONV + "[region]\nanchors=1,1\ntree=data/9k.tree\n",
        "x.cfg:12: layer 1 [region]: tree=data/9k.tree changes what Darknet computes: the key is not followed here",
    ),
    (
        "weighted shortcut",
        NET + CONV + "[shortcut]\nfrom=-1\nweights_type=per_feature\n",
        (
            "x.cfg:12: layer 1 [shortcut]: weights_type=per_feature changes what Darknet computes: "
            "only weights_type=none is possible"
        ),
    ),
    ("long list", NET + CONV + "[route]\nlayers=" + "0," * 1001 + "\n", None),
]


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_parse_refuses_and_names_line_and_layer(text: str, message: str | None) -> None:
    with pytest.raises(CfgError) as caught:
        parse_network(text, path="x.cfg")
    assert str(caught.value) == (
        message or "x.cfg:11: layer 1 [route]: layers lists 1001 values: 1 to 1000 are possible"
    )


@pytest.mark.parametrize("text", ["{}", "[{}]", "[net]\n{}", NET + "{}=1", NET + "[conv]\nactivation={}", NET + "[{}]"])
def test_errors_repeat_little_of_a_long_line(text: str) -> None:
    with pytest.raises(CfgError, match="x{38}…") as caught:
        parse_network(text.format("x" * 10_000), path="x.cfg")
    assert len(str(caught.value)) < 400


def test_keys_of_training_and_values_without_effect_are_taken() -> None:
    text = NET.replace("channels", "B1=.9\nlearning_rate_min=.1\ninputs=192\nuse_cuda_graph=0\nchannels")
    text += CONV + "dilation=1\nantialiasing=0\ntrain_only_bn=1\nlearning_rate=.5\ndot=0\n"
    text += "[maxpool]\nsize=3\nstride=1\nmaxpool_depth=0\n[route]\nlayers=-1\nwait_stream=1\n"
    text += "[shortcut]\nfrom=-2\nweights_type=none\n" + TAIL + "new_coords=0\nnms_kind=greedynms\nbeta_nms=.6\n"
    plain = "[maxpool]\nsize=3\nstride=1\n[route]\nlayers=-1\n[shortcut]\nfrom=-2\n"
    found, expected = parse_network(text).layers, parse_network(NET + CONV + plain + TAIL).layers
    assert [layer.op for layer in found] == [layer.op for layer in expected]


# what the file is, its bytes, a part of the message
MISTAKEN = [
    ("page", b"\n<!DOCTYPE html><html>404", "is an HTML page, not Darknet cfg"),
    ("weights", b"\x00\x00\x00\x00\x02\x00\x00\x00\x05\x00\x00\x00", "is binary, not Darknet cfg: is it swapped"),
    ("pointer", b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer"),
    ("archive", b"PK\x03\x04....", "is a ZIP archive"),
    ("latin-1", b"[net]\n# caf\xe9\n", "is not text at byte 11"),
    ("large", b"#" * (MAX_CFG_BYTES + 1), "is larger than 1048576 bytes"),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in MISTAKEN], ids=[case[0] for case in MISTAKEN])
def test_load_says_what_the_file_is_instead(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(data)
    with pytest.raises(CfgError, match=r"a\.cfg: ") as caught:
        load_network(path)
    assert message in str(caught.value)


def test_load_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CfgError, match=r"none\.cfg: cannot be read: No such file or directory"):
        load_network(tmp_path / "none.cfg")


def test_parse_reads_spaces_comments_aliases_and_line_ends_as_darknet_does() -> None:
    text = NET + "; old\r\n[conv]\r\n filters = 7\r\n# x\nactivation\t= linear\n[yolo]\n"
    network = parse_network(text + "anchors = 1, 2\nclasses=2\n")
    assert isinstance(network.layers[0].op, Convolutional)
    assert network.layers[0].op.filters == 7
    assert network.heads[0].op == Yolo(anchors=((1, 2),), classes=2, scale_x_y=1)


def test_parse_uses_darknets_defaults() -> None:
    network = parse_network(NET + "[conv]\n[maxpool]\nstride=2\n[conv]\nfilters=25\n[yolo]\nanchors=1,1\n")
    convolution, pool, *_ = (layer.op for layer in network.layers)
    assert convolution == Convolutional(1, 1, 1, 0, 1, batch_normalize=False, activation="logistic")
    assert pool == MaxPool(size=2, stride=2, padding=1)
    assert network.classes == 20


@pytest.mark.parametrize(("size", "stride", "side"), [(2, 2, 7), (2, 1, 13), (3, 1, 13), (5, 1, 13), (3, 2, 7)])
def test_maxpool_keeps_darknets_sides(size: int, stride: int, side: int) -> None:
    net = "[net]\nwidth=13\nheight=13\nchannels=3\n"
    network = parse_network(net + f"[maxpool]\nsize={size}\nstride={stride}\n" + TAIL)
    assert network.layers[0].shape == (3, side, side)


def test_route_counts_back_and_from_zero() -> None:
    network = parse_network(NET + CONV + CONV + "[route]\nlayers=-1,0\ngroups=2\ngroup_id=1\n" + TAIL)
    route = network.layers[2]
    assert route.inputs == (1, 0)
    assert route.op == Route(groups=2, group_id=1)
    assert route.shape == (4, 8, 8)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "layers", "heads"),
    [
        ("yolov3", 107, [(255, 19, 19), (255, 38, 38), (255, 76, 76)]),
        ("yolov3-tiny", 24, [(255, 13, 13), (255, 26, 26)]),
        ("yolov2-tiny", 16, [(425, 13, 13)]),
        ("yolo-fastest-1.1", 131, [(255, 10, 10), (255, 20, 20)]),
        ("MobileNetV2-YOLOv3-Nano-voc", 80, [(75, 10, 10), (75, 20, 20)]),
    ],
)
def test_load_reads_published_cfgs(name: str, layers: int, heads: list[tuple[int, int, int]]) -> None:
    network = load_network(SHARED_DATA / "cfg" / f"{name}.cfg")
    assert len(network.layers) == layers
    assert [tuple(head.shape) for head in network.heads] == heads


@pytest.mark.data
def test_load_reads_heads_of_both_generations() -> None:
    (region,) = load_network(SHARED_DATA / "cfg" / "yolov2-tiny.cfg").heads
    assert isinstance(region.op, Region)
    assert region.op.softmax
    assert region.op.anchors[0] == (0.57273, 0.677385)
    scales = [head.op.scale_x_y for head in load_network(SHARED_DATA / "cfg/MobileNetV2-YOLOv3-Nano-coco.cfg").heads]
    assert scales == [1.1, 1.05]


@given(text=cfg_texts(), data=st.data())
def test_parse_answers_a_damaged_cfg_with_a_network_or_a_cfg_error(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.text(max_size=12))
    try:
        network = parse_network(text[:place] + damage + text[place + data.draw(st.integers(0, 30)) :])
    except CfgError as error:
        assert str(error).startswith("<cfg>")
    else:
        assert network.heads
