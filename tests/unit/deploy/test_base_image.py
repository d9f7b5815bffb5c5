"""The digest of the serving image's base, asked of a registry that answers as the specification says."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from deploy import base_image
from deploy.base_image import DOCKERFILE, RegistryError, base_of, current_digest

DIGEST = "sha256:" + "5" * 64


class Registry(BaseHTTPRequestHandler):
    """A registry with one repository. It refuses readers without its token and clients that want no list."""

    digest: str | None = DIGEST

    def do_GET(self) -> None:
        """Answer a token or a manifest."""
        if self.path.startswith("/token/") and "scope=repository:docker/library/python:pull" in self.path:
            return self._answer(200, {"token": "t1"})
        if self.path != "/v2/docker/library/python/manifests/3.11-slim":
            return self._answer(404, {})
        if self.headers["Authorization"] != "Bearer t1" or "manifest.list" not in self.headers["Accept"]:
            return self._answer(401, {})
        return self._answer(200, {}, {"Docker-Content-Digest": self.digest} if self.digest else {})

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(base_image, "SCHEME", "http")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def base(registry: str, tag: str = "3.11-slim") -> dict[str, str]:
    return {"registry": registry, "name": "docker/library/python", "tag": tag, "digest": DIGEST}


def test_the_image_is_built_on_a_base_with_a_digest() -> None:
    found = base_of(DOCKERFILE.read_text())
    assert (found["registry"], found["name"]) == ("public.ecr.aws", "docker/library/python")
    assert found["tag"].startswith("3.11")


def test_the_registry_names_the_digest_of_the_tag(registry: str) -> None:
    assert current_digest(base(registry)) == DIGEST


def test_an_unknown_tag_and_a_registry_that_is_away_say_what_to_do(registry: str) -> None:
    with pytest.raises(RegistryError, match="run make base-image again"):
        current_digest(base(registry, tag="2.7"))
    with pytest.raises(RegistryError, match="run make base-image again"):
        current_digest(base("127.0.0.1:9"))


def test_an_answer_without_a_digest_is_refused(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "digest", None)
    with pytest.raises(RegistryError, match="without the digest"):
        current_digest(base(registry))


def test_a_base_without_a_digest_is_refused() -> None:
    with pytest.raises(RegistryError, match="FROM registry/name:tag@sha256"):
        base_of("FROM public.ecr.aws/docker/library/python:3.11-slim\n")


def test_the_command_writes_the_new_digest_and_keeps_the_rest(
    registry: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dockerfile = tmp_path / "Dockerfile"
    old = "sha256:" + "1" * 64
    dockerfile.write_text(f"# base\nFROM {registry}/docker/library/python:3.11-slim@{old}\nRUN true\n")
    monkeypatch.setattr(base_image, "DOCKERFILE", dockerfile)
    assert base_image.main(["--check"]) == 1
    assert old in dockerfile.read_text()
    assert base_image.main([]) == 0
    assert dockerfile.read_text() == (
        f"# base\nFROM {registry}/docker/library/python:3.11-slim@{DIGEST}\nRUN true\n"
    )
    assert base_image.main(["--check"]) == 0
    assert "as Dockerfile says" in capsys.readouterr().out
