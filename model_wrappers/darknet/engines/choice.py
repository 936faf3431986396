"""Which engine answers: the named one, or for ``auto`` the fastest recorded one that opens here, with its reasons told."""

from __future__ import annotations

import logging

import numpy as np

from model_wrappers.darknet.cpu import machine_name
from model_wrappers.darknet.engines import AUTO, DEFAULT_ENGINE, Engine, open_engine
from model_wrappers.darknet.engines.record import EngineRecord, load_record
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.provenance import file_sha256

logger = logging.getLogger(__name__)


def open_chosen(name: str, files: ModelFolder, size: Size, *, threads: int) -> Engine:
    """Open an engine and run it once on a black photo of ``size``, because the first run allocates; log which it is.

    Raises:
        EngineError: the named engine, or every recorded one, does not open; the record is of other files.
        ModelFolderError: the record is none.
    """
    if name != AUTO:
        return _told(_warm(name, files, size, threads), files, threads)
    if files.engines_path is None:
        return _told(_warm(DEFAULT_ENGINE, files, size, threads), files, threads)
    record = load_record(files.engines_path)
    check_record(record, files)
    faults: list[str] = []
    for timing in record.order:
        try:
            engine = _warm(timing.engine, files, size, threads)
        except EngineError as exc:
            faults.append(f"{timing.engine}, recorded as faster, does not open: {exc}")
            continue
        remarks = differences(record, engine, machine=machine_name(), threads=threads)
        kept = [f"{files.engines_path.name} is of {'; '.join(remarks)}: its order is kept"] if remarks else []
        return _told(engine, files, threads, *faults, *kept)
    raise EngineError(f"{files.engines_path}: no engine of it opens: {'; '.join(faults) or 'none is within tolerance'}")


def check_record(record: EngineRecord, files: ModelFolder) -> None:
    """Raises ``EngineError`` when the record is of other files than the folder's."""
    for path, said in ((files.cfg_path, record.cfg_sha256), (files.weights_path, record.weights_sha256)):
        found = file_sha256(path)
        if found != said:
            raise EngineError(
                f"{files.engines_path}: is of a file with SHA-256 {said}, but {path} is {found}: "
                "register the model again, or name an engine"
            )


def differences(record: EngineRecord, engine: Engine, *, machine: str, threads: int) -> list[str]:
    """What was otherwise when the record was made, in words."""
    recorded = {timing.engine: timing.version for timing in record.timings}[engine.name]
    compared = (
        ("machine", record.machine, machine),
        ("threads", record.threads, threads),
        (engine.name, recorded, engine.version),
    )
    return [f"{what} {then} (here {now})" for what, then, now in compared if then != now]


def _warm(name: str, files: ModelFolder, size: Size, threads: int) -> Engine:
    engine = open_engine(name, files, threads=threads)
    engine.run(np.zeros((1, size.height, size.width, 3), np.uint8))
    return engine


def _told(engine: Engine, files: ModelFolder, threads: int, *remarks: str) -> Engine:
    logger.log(
        logging.WARNING if remarks else logging.INFO,
        "%s: engine %s %s, threads %d%s",
        files.weights_path.name,
        engine.name,
        engine.version,
        threads,
        "".join(f"; {remark}" for remark in remarks),
    )
    return engine
