"""Every command that asks the API shows the warnings that come with its answers."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from click.testing import CliRunner

from slipway.cli.main import main

SAID = "Warning: this is told [2J to whoever asks"


class Warner(BaseHTTPRequestHandler):
    """An API that has nothing, and says one thing with every answer."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Warning", '299 - "this is told\x1b[2J to whoever asks"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Standard error is the command's."""


@pytest.fixture(scope="module")
def warner() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Warner) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "words",
    [
        *(("apply", "-f", "one.yaml"), ("plan", "-f", "one.yaml"), ("delete", "-f", "one.yaml")),
        *(("get", "cm"), ("describe", "cm", "one"), ("rollback", "one"), ("split", "one")),
        *(("tenant", "list"), ("tenant", "remove", "one", "--yes")),
    ],
    ids=" ".join,
)
def test_warning_of_the_api_is_shown_once(
    warner: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "clusters": [{"name": "it", "cluster": {"server": warner}}],
        "contexts": [{"name": "it", "context": {"cluster": "it"}}],
        "current-context": "it",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    (tmp_path / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 1, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("Warning:")] == [SAID]
