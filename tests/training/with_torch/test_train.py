"""Learning: it learns, it goes on exactly where it stopped, and what it leaves is a model that serves."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.detector import Detector
from model_wrappers.darknet.errors import WeightsError
from model_wrappers.darknet.training.augment import NONE, Augmentation
from model_wrappers.darknet.training.checkpoint import SEAL, Checkpoint, EpochMetrics, decode, encode
from model_wrappers.darknet.training.errors import CheckpointError, Interrupted, TrainingError
from model_wrappers.darknet.training.module import DarknetModule
from model_wrappers.darknet.training.output import render_metrics, write_model
from model_wrappers.darknet.training.precision import CONFIDENCE, detector_precision
from model_wrappers.darknet.training.settings import Settings
from model_wrappers.darknet.training.train import Trained, Upkeep, choose_device, train
from model_wrappers.darknet.training.voc import VocPhotos, load_voc
from model_wrappers.darknet.weights import Weights, WeightsHeader, write_weights
from tests.training.voc_folder import NAMES, write_voc
from tests.training.with_torch.networks import CFG, write_cfg

SETTINGS = Settings(
    epochs=3,
    batch=4,
    rate=5e-3,
    validate_every=2,
    seed=7,
    augmentation=Augmentation(mirror=True, scale=1.2, shift=0.1, light=0.1),
)


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    return write_cfg(tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> VocPhotos:
    return load_voc(write_voc(tmp_path / "voc", train=10), "train", NAMES)


def tensors(trained: Trained) -> list[np.ndarray]:
    return [value.numpy() for value in trained.module.state_dict().values()]


def same(first: Trained, second: Trained) -> bool:
    return first.history == second.history and all(
        (a == b).all() for a, b in zip(tensors(first), tensors(second), strict=True)
    )


def stopped_after(step: int, cfg: Path, photos: VocPhotos) -> Checkpoint:
    """What is kept of a training that is told to stop, through the file's form."""
    kept: list[bytes] = []
    calls = iter(range(1, 1000))
    upkeep = Upkeep(keep=lambda made: kept.append(encode(made)), every_s=1e9, stop=lambda: next(calls) == step)
    with pytest.raises(Interrupted, match=f"stopped after step {step} of 6"):
        train(cfg, photos, settings=SETTINGS, validation=photos, upkeep=upkeep)
    assert len(kept) == 1
    return decode(kept[0], where="here")


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_training_with_a_break_gives_what_one_without_gives(cfg: Path, photos: VocPhotos, step: int) -> None:
    whole = train(cfg, photos, settings=SETTINGS, validation=photos)
    checkpoint = stopped_after(step, cfg, photos)
    torch.manual_seed(99)  # nothing of this process may be left in the result
    resumed = train(cfg, photos, settings=SETTINGS, validation=photos, resume=checkpoint)
    assert same(whole, resumed)
    assert resumed.seen == whole.seen == 3 * 2 * 4


def test_the_same_seed_gives_the_same_weights_and_another_does_not(cfg: Path, photos: VocPhotos) -> None:
    first, again = (train(cfg, photos, settings=SETTINGS) for _ in range(2))
    other = train(cfg, photos, settings=dataclasses.replace(SETTINGS, seed=8))
    assert same(first, again)
    assert not same(first, other)


def test_a_finished_training_goes_on_to_its_end_without_a_step(cfg: Path, photos: VocPhotos) -> None:
    kept: list[Checkpoint] = []
    whole = train(cfg, photos, settings=SETTINGS, upkeep=Upkeep(keep=kept.append, every_s=1e9))
    assert [one.step for one in kept] == [6]
    told: list[int] = []

    class Listener:
        def step(self, done: int, steps: int, loss: float) -> None:
            told.append(done)

        def epoch(self, metrics: EpochMetrics, epochs: int) -> None:
            told.append(metrics.epoch)

    again = train(cfg, photos, settings=SETTINGS, resume=kept[0], upkeep=Upkeep(observers=[Listener()]))
    assert same(whole, again)
    assert told == []


@pytest.mark.parametrize("change", ["settings", "photos", "cfg", "start"])
def test_a_checkpoint_of_another_training_is_refused(cfg: Path, photos: VocPhotos, change: str, tmp_path: Path) -> None:
    checkpoint = stopped_after(1, cfg, photos)
    settings, start = SETTINGS, None
    if change == "settings":
        settings = dataclasses.replace(SETTINGS, epochs=4)
    elif change == "photos":
        photos = load_voc(write_voc(tmp_path / "other", train=9), "train", NAMES)
    elif change == "cfg":
        cfg.write_text(cfg.read_text().replace("filters=24", "filters=25"))
    else:
        start = write_model(
            train(cfg, photos, settings=SETTINGS), tmp_path / "m", cfg=cfg, names=_names(cfg)
        ).weights_path
    with pytest.raises(CheckpointError, match="of a training with another cfg"):
        train(cfg, photos, settings=settings, resume=checkpoint, start=start)


def test_it_learns_to_find_what_is_in_the_photos_and_serves(cfg: Path, photos: VocPhotos, tmp_path: Path) -> None:
    """The measured precision is that of the written files through the serving engine."""
    settings = Settings(epochs=80, batch=5, rate=1e-2, average=0.9, validate_every=40, augmentation=NONE)
    trained = train(cfg, photos, settings=settings, validation=photos)
    assert trained.history[-1].loss < trained.history[0].loss / 5
    assert trained.history[-1].map50 is not None
    assert trained.history[-1].map50 > 0.9
    assert [row.epoch for row in trained.history if row.map50 is not None] == [40, 80]
    files = write_model(trained, tmp_path / "model", cfg=cfg, names=_names(cfg))
    served = detector_precision(Detector(files, confidence=CONFIDENCE), photos)
    assert served.map50 == pytest.approx(trained.history[-1].map50, abs=0.01)
    assert served.classes.keys() == set(NAMES)


def test_training_goes_on_from_weights_of_the_same_cfg(cfg: Path, photos: VocPhotos, tmp_path: Path) -> None:
    settings = Settings(epochs=20, batch=5, rate=1e-2, average=0.9, augmentation=NONE)
    first = train(cfg, photos, settings=settings)
    files = write_model(first, tmp_path / "model", cfg=cfg, names=_names(cfg))
    second = train(cfg, photos, settings=Settings(epochs=1, batch=5, rate=1e-4), start=files.weights_path)
    assert second.history[0].loss < first.history[0].loss / 3
    with pytest.raises(WeightsError):
        train(cfg, photos, settings=settings, start=cfg)


def test_a_loss_that_is_no_number_stops_at_once(cfg: Path, photos: VocPhotos, tmp_path: Path) -> None:
    network = load_network(cfg)
    module = DarknetModule(network)
    parameters = module.parameters_by_layer()
    last = max(parameters)
    parameters[last] = dataclasses.replace(parameters[last], biases=np.full(14, 3e38, np.float32))
    start = tmp_path / "start.weights"
    write_weights(start, network, Weights(WeightsHeader(), parameters))
    with pytest.raises(TrainingError, match="step 0: the loss is inf: try a lower rate than 0.005"):
        train(cfg, photos, settings=SETTINGS, start=start)


def test_other_classes_than_the_cfgs_are_refused(cfg: Path, photos: VocPhotos) -> None:
    three = dataclasses.replace(photos, names=("a", "b", "c"))
    with pytest.raises(TrainingError, match=r"classes=2, but the photos have 3: a, b, c"):
        train(cfg, three, settings=SETTINGS)
    other = dataclasses.replace(photos, names=("disc", "cube"))
    with pytest.raises(TrainingError, match="validation has the classes disc, cube"):
        train(cfg, photos, settings=SETTINGS, validation=other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x02cos\nsystem\n(S'true'\ntR."])
def test_what_is_no_checkpoint_is_refused_and_not_run(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="there: not a checkpoint.*remove it to start anew"):
        decode(content, where="there")


def test_a_file_of_another_kind_or_format_is_no_checkpoint(tmp_path: Path) -> None:
    for value in ({"format": 1, "weights": torch.zeros(1)}, {"format": 0}, [1]):
        torch.save(value, tmp_path / "x")
        with pytest.raises(CheckpointError, match="remove it to start anew"):
            decode((tmp_path / "x").read_bytes(), where="there")


@pytest.mark.parametrize("history", [[{"epoch": 1}], [7], 7])
def test_a_sealed_file_with_other_figures_is_no_checkpoint(history: Any, cfg: Path, photos: VocPhotos) -> None:
    """Whoever may write to the place may seal it: it is refused in words, whatever it holds."""
    _, _, content = encode(stopped_after(1, cfg, photos)).partition(b"\n")
    stream = io.BytesIO()
    torch.save({**torch.load(io.BytesIO(content), weights_only=True), "history": history}, stream)
    sealed = f"{SEAL}{hashlib.sha256(stream.getvalue()).hexdigest()}\n".encode() + stream.getvalue()
    with pytest.raises(CheckpointError, match="there: not a checkpoint of a training .*remove it to start anew"):
        decode(sealed, where="there")


def test_a_checkpoint_with_one_other_bit_is_refused(cfg: Path, photos: VocPhotos) -> None:
    content = encode(stopped_after(1, cfg, photos))
    chance = random.Random(4)
    for place in [0, 40, len(content) - 1, *(chance.randrange(len(content)) for _ in range(300))]:
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(CheckpointError, match="there: .*remove it to start anew"):
            decode(bytes(changed), where="there")
    for length in (0, 10, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(CheckpointError, match="remove it to start anew"):
            decode(content[:length], where="there")
    with pytest.raises(CheckpointError, match="is not whole"):
        decode(content + b"x", where="there")


def test_a_name_for_two_classes_is_refused(cfg: Path, photos: VocPhotos) -> None:
    with pytest.raises(TrainingError, match="the classes disc are there twice"):
        train(cfg, dataclasses.replace(photos, names=("disc", "disc")), settings=SETTINGS)


def test_one_value_per_channel_is_refused_before_the_first_step(tmp_path: Path, photos: VocPhotos) -> None:
    cfg = write_cfg(tmp_path, CFG.replace("width=96", "width=8").replace("height=64", "height=8"))
    with pytest.raises(TrainingError, match="layer 5 gives one pixel, and a step has one photo: .* a larger batch"):
        train(cfg, photos, settings=dataclasses.replace(SETTINGS, batch=1))
    assert train(cfg, photos, settings=dataclasses.replace(SETTINGS, batch=2, epochs=1)).seen == 10


def test_a_gpu_that_is_too_small_is_told_with_what_helps(
    cfg: Path, photos: VocPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(module: DarknetModule, images: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DarknetModule, "forward", full)
    with pytest.raises(TrainingError, match="step 0: the GPU's memory does not hold 4 photos .*: try a smaller batch"):
        train(cfg, photos, settings=SETTINGS)


def test_the_device_is_the_one_that_is_there() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(TrainingError, match="'tpu' is not one of auto, cpu, cuda"):
        choose_device("tpu")


def test_no_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="PyTorch finds no GPU here"):
        choose_device("cuda")


def test_metrics_are_a_table_with_a_column_per_class() -> None:
    rows = (EpochMetrics(1, 3.5, 0.001), EpochMetrics(2, 1.25, 0.002, 0.5, {"b": 0.25, "a": 0.75}))
    assert render_metrics(rows).splitlines() == [
        "epoch,loss,rate,map50,ap50 a,ap50 b",
        "1,3.5000,1.000e-03,,,",
        "2,1.2500,2.000e-03,0.5000,0.7500,0.2500",
    ]


def _names(cfg: Path) -> Path:
    return cfg.with_suffix(".names")
