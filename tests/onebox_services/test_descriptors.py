"""The soft limit of open files is raised as far as the hard one allows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slipway.onebox.descriptors import MAX_FILES

PROGRAM = """
import resource, subprocess, sys
from slipway.onebox.descriptors import allow_many_files
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
print(allow_many_files(), flush=True)
subprocess.run([sys.executable, "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"], check=True)
"""


@pytest.mark.parametrize(("hard", "soft"), [(256, 256), (512, 512)])
def test_as_many_files_as_the_hard_limit_allows_for_children_too(hard: int, soft: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(hard)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(min(soft, MAX_FILES))] * 2
