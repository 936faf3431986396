"""Whether this kernel lets us make mount namespaces: found out once, by making one."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.runner.environ import SYSTEM_PATH
from slipway.onebox.runner.placement import Bind, place
from slipway.onebox.runner.process import Command, run_to_end

TRIAL_TIMEOUT_S = 10.0
TRIAL_TARGETS = ("/etc/slipway-trial", "/mnt/slipway-trial")

log = logging.getLogger(__name__)


async def has_mount_namespaces(paths: Paths) -> bool:
    """Mounts a folder at two paths that do not exist, in a child, and reads a file there."""
    with tempfile.TemporaryDirectory(dir=paths.pods) as name:
        folder = Path(name)
        (folder / "volume").mkdir()
        (folder / "volume" / "seen").write_text("")
        placement = place([Bind(folder / "volume", target, True) for target in TRIAL_TARGETS], has_namespaces=True)
        skeletons = []
        for index, overlay in enumerate(placement.overlays):
            skeleton = folder / str(index)
            for inner in overlay.folders:
                (skeleton / inner).mkdir(parents=True)
            skeletons.append(skeleton)
        targets = [bind.target for bind in placement.binds]
        command = Command(
            argv=("ls", *(f"{target}/seen" for target in targets)),
            env={"PATH": SYSTEM_PATH},
            cwd=Path("/"),
            placement=placement,
            skeletons=tuple(skeletons),
            keep=(paths.home,),
        )
        code = await run_to_end(command, timeout_s=TRIAL_TIMEOUT_S)
    if code != 0:
        log.info("no mount namespaces here (the trial ended with %s): mounted paths are translated", code)
    return code == 0
