"""Clusters whose API wants a client certificate, from a kubeconfig or from a plug-in, over real TLS."""

from __future__ import annotations

import base64
import json
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway.kube.client import Kube
from slipway.kube.errors import Unavailable
from slipway.kube.kinds import CONFIG_MAP
from slipway.kube.kubeconfig import Access, load_access

V1 = "client.authentication.k8s.io/v1"
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()


def issue(name: str, by: Pair | None = None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    )
    return Pair(builder.sign(by.key if by else key, hashes.SHA256()), key)


AUTHORITY = issue("authority")
SERVER, ADA, BOB = (issue(name, AUTHORITY) for name in ("server", "ada", "bob"))


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Says whose certificate came."""

    async def who(request: web.Request) -> web.Response:
        assert request.transport is not None
        ((pair,),) = request.transport.get_extra_info("peercert")["subject"]
        return web.json_response({"metadata": {"name": pair[1]}})

    for name, text in (("ca", AUTHORITY.pem), ("crt", SERVER.pem), ("key", SERVER.key_pem)):
        (tmp_path / f"server.{name}").write_text(text)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "server.ca"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", who)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=context)
    yield f"https://127.0.0.1:{server.port}"
    await server.close()


def access(folder: Path, url: str, user: dict[str, object]) -> Access:
    authority = base64.b64encode(AUTHORITY.pem.encode()).decode()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    return load_access(folder / "config")


async def name_seen(kube: Kube) -> str:
    return (await kube.get(CONFIG_MAP, "a", namespace="default"))["metadata"]["name"]


async def test_certificate_of_a_kubeconfig_as_files_and_as_data(url: str, tmp_path: Path) -> None:
    (tmp_path / "ada.crt").write_text(ADA.pem)
    (tmp_path / "ada.key").write_text(ADA.key_pem)
    user = {"client-certificate": "ada.crt", "client-key": "ada.key"}  # as minikube writes it
    async with Kube(access(tmp_path, url, user)) as kube:
        assert await name_seen(kube) == "ada"
    parts = {"client-certificate-data": BOB.pem, "client-key-data": BOB.key_pem}  # as kind and k3s write it
    user = {key: base64.b64encode(text.encode()).decode() for key, text in parts.items()}
    async with Kube(access(tmp_path, url, user)) as kube:
        assert await name_seen(kube) == "bob"


async def test_certificate_of_a_plugin_is_used_and_its_next_one_too(url: str, tmp_path: Path) -> None:
    program = tmp_path / "plugin.py"
    program.write_text("import pathlib, sys; print((pathlib.Path(sys.argv[0]).parent / 'issued.json').read_text())")

    def give(pair: Pair) -> None:
        status = {"clientCertificateData": pair.pem, "clientKeyData": pair.key_pem}
        (tmp_path / "issued.json").write_text(
            json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})
        )

    give(ADA)
    user = {"exec": {"apiVersion": V1, "command": sys.executable, "args": [str(program)]}}
    found = access(tmp_path, url, user)
    assert found.plugin is not None
    now = [0.0]
    found.plugin.ticks = lambda: now[0]
    async with Kube(found) as kube:
        assert await name_seen(kube) == "ada"
        give(BOB)
        now[0] = 3600.0
        kube.access.renew()
        assert await name_seen(kube) == "bob"


async def test_server_that_the_authority_has_not_signed_is_not_talked_to(url: str, tmp_path: Path) -> None:
    user = {"client-certificate-data": "", "token": "secret"}
    stranger = base64.b64encode(issue("stranger").pem.encode()).decode()
    found = access(tmp_path, url, user)
    config = yaml.safe_load((tmp_path / "config").read_text())
    config["clusters"][0]["cluster"]["certificate-authority-data"] = stranger
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    assert found.certificate_authority != load_access(tmp_path / "config").certificate_authority
    async with Kube(load_access(tmp_path / "config")) as kube:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await name_seen(kube)
