"""A Docker daemon for one run of the tests, and base images made here: nothing is pulled, nothing of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

BASE, BUILD = "slipway-base:bookworm", "slipway-build:bookworm"
DEBOOTSTRAP = ("--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm")
READY_TIMEOUT_S, END_TIMEOUT_S = 60, 60
COMMAND_TIMEOUT_S, MAKE_TIMEOUT_S = 120, 600
NEEDED = {"dockerd": "docker.io", "docker": "docker.io", "debootstrap": "debootstrap"}
"""Program → Debian's package."""

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PIP_OPTIONS = frozenset(
    {"index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout", "retries"}
)
"""What a build needs to know of this machine's pip; files of this machine are not in an image."""


def lacking() -> str:
    """What is missing for real containers, as a sentence; '' where all is there."""
    packages = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    missing = [f"apt-get install {' '.join(packages)}"] if packages else []
    missing += ["root, whom a Docker daemon belongs to"] if os.getuid() != 0 else []
    return f"real containers need: {', and '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class Docker:
    """The client of a daemon at ``socket``."""

    socket: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "BUILDKIT"))}
        return {**kept, "DOCKER_HOST": f"unix://{self.socket}"}

    def run(
        self, *words: str, check: bool = True, stdin: str | None = None, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Output and errors, or an AssertionError that shows both."""
        done = subprocess.run(
            ["docker", *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done

    def inspect(self, name: str, template: str) -> str:
        return self.run("inspect", "--format", template, name).stdout.strip()

    def import_base(self, work: Path) -> None:
        """``BASE``: Debian with Python, by debootstrap; ``BUILD``: the same with this machine's way to a package index."""
        root = work / "base"
        _make(["debootstrap", *DEBOOTSTRAP, str(root)], what="debootstrap")
        left_out = [f"--exclude=./{name}/*" for name in ("proc", "sys", "dev", "var/cache/apt/archives")]
        tar = subprocess.Popen(
            ["tar", "-C", str(root), "--one-file-system", *left_out, "-c", "."], stdout=subprocess.PIPE
        )
        with tar:
            subprocess.run(
                ["docker", "import", "-", BASE],
                stdin=tar.stdout,
                env=self.environment,
                check=True,
                capture_output=True,
                timeout=MAKE_TIMEOUT_S,
            )
        assert tar.returncode == 0
        build = work / "build"
        build.mkdir()
        shutil.copyfile(CERTIFICATES, build / "ca.crt")
        (build / "pip.conf").write_text(pip_settings())
        (build / "Dockerfile").write_text(f"FROM {BASE}\nCOPY ca.crt {CERTIFICATES}\nCOPY pip.conf /etc/pip.conf\n")
        self.run("build", "--tag", BUILD, str(build))


def pip_settings() -> str:
    """This machine's settings of pip that hold elsewhere, as a pip.conf. Variables win, as they do for pip."""
    done = _make([sys.executable, "-m", "pip", "config", "list"], what="pip config")
    return render_pip_settings(done.splitlines())


def render_pip_settings(lines: Sequence[str]) -> str:
    """``lines``: of ``pip config list``, ``global.timeout='60'``; later ones win, and ``:env:.timeout`` over all."""
    found: dict[str, str] = {}
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        where, _, quoted = line.partition("=")
        values = [word for word in quoted.strip("'\"").split() if not word.startswith(("/", "file:"))]
        option = where.rpartition(".")[2]
        if option in PIP_OPTIONS and values:
            found[option] = " ".join(values)
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())


def _make(argv: Sequence[str], *, what: str) -> str:
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=MAKE_TIMEOUT_S,
    )
    assert done.returncode == 0, f"{what}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@contextmanager
def daemon(work: Path) -> Iterator[Docker]:
    """dockerd in ``work``, without bridges and firewall rules: containers have the host's network, one another's or none."""
    folders = {name: work / name for name in ("data", "exec")}
    docker, log = Docker(work / "docker.sock"), work / "dockerd.log"
    argv = ["dockerd", "--host", f"unix://{docker.socket}", "--pidfile", str(work / "dockerd.pid")]
    argv += ["--data-root", str(folders["data"]), "--exec-root", str(folders["exec"])]
    argv += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    argv += ["--containerd-namespace", work.name, "--containerd-plugins-namespace", f"{work.name}-plugins"]
    with log.open("w") as stream:
        process = subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)

    def is_ready() -> bool:
        assert process.poll() is None, f"dockerd ended with {process.returncode}:\n{log.read_text()[-4000:]}"
        return docker.run("version", check=False).returncode == 0

    try:
        wait_until(is_ready, timeout_s=READY_TIMEOUT_S, what="dockerd answers")
        yield docker
        _remove_containers(docker)
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _unmount(work)


def _remove_containers(docker: Docker) -> None:
    if left := docker.run("ps", "--all", "--quiet").stdout.split():
        docker.run("rm", "--force", *left)


def _unmount(folder: Path) -> None:
    """What dockerd leaves mounted, such as the network of its host; the deepest first. Form: proc_pid_mountinfo(5)."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        _make(["umount", point], what="umount")
