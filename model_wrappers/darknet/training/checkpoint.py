"""Everything that a training needs to go on as if it had never stopped, as one file.

The file is a line with the format and the SHA-256 of what follows, then ``torch.save``'s of plain values and tensors. It
is read with ``weights_only``: it cannot run code. PyTorch alone takes a changed byte of a tensor as it is.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import asdict, dataclass
from typing import Any

import torch

from model_wrappers.darknet.training.errors import CheckpointError
from model_wrappers.darknet.training.places import Place

SEAL = "slipway checkpoint 2 sha256:"
SEAL_BYTES = len(SEAL) + 64 + 1
CHECKPOINT_NAME = "checkpoint.pt"


@dataclass(frozen=True)
class EpochMetrics:
    """One finished epoch. ``map50`` and ``classes`` (AP by name) are None where nothing was measured."""

    epoch: int
    loss: float
    rate: float
    map50: float | None = None
    classes: dict[str, float] | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """``step`` steps are done, ``losses`` are those of the epoch under way; ``run`` is the MLflow run's id or empty.

    ``fingerprint`` is of cfg, settings, photos and starting weights; the tensors are as PyTorch's ``state_dict`` has
    them.
    """

    fingerprint: str
    step: int
    losses: tuple[float, ...]
    history: tuple[EpochMetrics, ...]
    run: str
    module: dict[str, Any]
    average: dict[str, Any]
    updates: int
    optimiser: dict[str, Any]
    random: torch.Tensor


def encode(checkpoint: Checkpoint) -> bytes:
    plain = {
        **{name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__},
        "losses": list(checkpoint.losses),
        "history": [asdict(row) for row in checkpoint.history],
    }
    stream = io.BytesIO()
    torch.save(plain, stream)
    return _seal(stream.getbuffer()) + stream.getbuffer()


def _seal(content: memoryview) -> bytes:
    return f"{SEAL}{hashlib.sha256(content).hexdigest()}\n".encode()


def decode(content: bytes, *, where: str) -> Checkpoint:
    """Raises CheckpointError, which says what to do."""
    first, _, _ = content[:SEAL_BYTES].partition(b"\n")
    payload = memoryview(content)[len(first) + 1 :]
    if not first.startswith(SEAL.encode()):
        raise CheckpointError(f"{where}: not a checkpoint of this version: remove it to start anew")
    if _seal(payload) != first + b"\n":
        raise CheckpointError(f"{where}: is not whole: its SHA-256 is another than it says: remove it to start anew")
    try:
        plain = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as exc:
        raise CheckpointError(f"{where}: not a checkpoint ({str(exc)[:200]}): remove it to start anew") from exc
    if not isinstance(plain, dict) or plain.keys() != Checkpoint.__dataclass_fields__.keys():
        raise CheckpointError(f"{where}: not a checkpoint of a training: remove it to start anew")
    try:
        history = tuple(EpochMetrics(**row) for row in plain.pop("history"))
        return Checkpoint(**{**plain, "losses": tuple(plain["losses"])}, history=history)
    except TypeError as exc:
        raise CheckpointError(f"{where}: not a checkpoint of a training ({exc}): remove it to start anew") from exc


def load_checkpoint(place: Place) -> Checkpoint | None:
    """The last one that was kept in ``place``; None where there is none."""
    content = place.read(CHECKPOINT_NAME)
    return None if content is None else decode(content, where=f"{place}/{CHECKPOINT_NAME}")


def keep_checkpoint(place: Place, checkpoint: Checkpoint) -> None:
    place.write(CHECKPOINT_NAME, encode(checkpoint))
