"""A folder like the reader's: the repository's folders, what the page says to write, what it draws."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.docs.commands import Command

NAMED = re.compile(r"# (\S+)\n")
SECRETS = Path("build", "secrets")
LIMIT_S = 50


def prepare(folder: Path, commands: Iterable[Command], yamls: Iterable[str], *, repository: Path) -> Path:
    """Fill ``folder``, in which the page's commands can then be tried."""
    for entry in repository.iterdir():
        if entry.name not in {"build", ".git"}:
            (folder / entry.name).symlink_to(entry)
    for text in yamls:
        if named := NAMED.match(text):
            path = folder / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    for command in commands:
        if command.program == "python":
            _run(command, folder, repository)
    _add_what_the_reader_brings(folder / SECRETS)
    return folder


def _run(command: Command, folder: Path, repository: Path) -> None:
    argv = [sys.executable, *command.words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    subprocess.run(argv, capture_output=True, check=True, cwd=folder, env=environment, timeout=LIMIT_S)


def _add_what_the_reader_brings(secrets: Path) -> None:
    """Google's keys, receivers of alerts, a photo's certificate: the page says that they are the reader's own."""
    (secrets / "hub-google.env").write_text("client-id=a\nclient-secret=b\n")
    (secrets / "alert-receivers.env").write_text("page=https://a.example.org\nticket=https://b.example.org\n")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.example.org")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (secrets / "gateway.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (secrets / "gateway.key").write_bytes(private)
