"""The client of Superset's API against a small server that answers as Superset does."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dashboards import superset_api
from dashboards.superset_api import Superset, SupersetError
from testing.http_server import served


class Answers(BaseHTTPRequestHandler):
    """Superset's login, CSRF token, roles and import; what was sent is kept."""

    sent: list[tuple[str, str, dict[str, str], bytes]]
    import_answer: tuple[int, dict[str, Any]]

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        if "csrf_token" in self.path:
            self._answer(200, {"result": "csrf-1"}, cookie="session=abc; HttpOnly; Path=/")
        elif "security/roles" in self.path:
            page = int(self.path.partition("page:")[2].partition(",")[0])
            count = superset_api.PAGE if page == 0 else 3
            self._answer(200, {"result": [{"id": page * 1000 + n} for n in range(count)]})
        elif "/page/" in self.path:
            self._answer(200, {}, text=b"<html>")
        elif "/moved/" in self.path:
            self._answer(302, {})
        else:
            self._answer(404, {"message": "Not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.sent.append(("POST", self.path, dict(self.headers), body))
        if self.path.endswith("security/login"):
            given = json.loads(body)
            known = (given["username"], given["password"]) == ("admin", "right")
            self._answer(
                200 if known else 401, {"access_token": "token-1"} if known else {"message": "Not authorized"}
            )
        elif self.path.endswith("/v1/auth/"):
            self._answer(200, {"payload": {"access_token": f"preset-of-{json.loads(body)['name']}"}})
        else:
            self._answer(*self.import_answer)

    def _answer(self, status: int, body: dict[str, Any], cookie: str = "", text: bytes = b"") -> None:
        data = text or json.dumps(body).encode()
        self.send_response(status)
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def answers() -> type[Answers]:
    return type("Answers", (Answers,), {"sent": [], "import_answer": (200, {"message": "OK"})})


@pytest.fixture
def url(answers: type[Answers]) -> Iterator[str]:
    with served(ThreadingHTTPServer(("127.0.0.1", 0), answers)) as address:
        yield address


def test_an_import_sends_the_bundle_the_secrets_and_both_tokens(answers: type[Answers], url: str) -> None:
    superset = Superset(f"{url}/")
    superset.log_in("admin", "right")
    superset.import_assets(b"a zip file", {"databases/warehouse.yaml": {"$.key": "secret"}})
    _, path, headers, body = answers.sent[-1]
    assert path == "/api/v1/assets/import/"
    assert headers["Authorization"] == "Bearer token-1"
    assert headers["X-CSRFToken"] == "csrf-1"
    assert headers["Cookie"] == "session=abc"
    assert headers["Referer"] == url
    assert b"a zip file" in body
    assert b'{"databases/warehouse.yaml": {"$.key": "secret"}}' in body


def test_an_api_token_of_preset_is_exchanged_for_a_session(
    answers: type[Answers], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superset_api, "PRESET_LOGIN", f"{url}/v1/auth/")
    superset = Superset(url)
    superset.log_in_to_preset("name-1", "secret-1")
    superset.import_assets(b"", {})
    assert json.loads(answers.sent[0][3]) == {"name": "name-1", "secret": "secret-1"}
    assert answers.sent[1][2]["Authorization"] == "Bearer preset-of-name-1"


def test_a_list_is_read_to_its_last_page(url: str) -> None:
    assert len(Superset(url).every("security/roles/")) == superset_api.PAGE + 3


def test_a_wrong_password_names_the_variables(url: str) -> None:
    with pytest.raises(SupersetError, match="SUPERSET_PASSWORD") as caught:
        Superset(url).log_in("admin", "wrong")
    assert caught.value.status == 401


def test_a_refused_asset_is_named_with_its_reason(answers: type[Answers], url: str) -> None:
    error = {
        "message": "Error importing assets",
        "extra": {"charts/a.yaml": {"uuid": ["Not a valid UUID."]}, "issue_codes": []},
    }
    answers.import_answer = (422, {"errors": [error]})
    with pytest.raises(SupersetError, match=r"charts/a\.yaml: .*Not a valid UUID") as caught:
        Superset(url).import_assets(b"", {})
    assert "issue_codes" not in str(caught.value)


def test_an_address_that_redirects_is_named_as_the_cause(url: str) -> None:
    with pytest.raises(SupersetError, match="SUPERSET_URL redirects"):
        Superset(url).get("moved/")


def test_nothing_behind_the_address_is_named(url: str) -> None:
    with pytest.raises(SupersetError, match="does not answer"):
        Superset("http://127.0.0.1:9").get("security/roles/")


def test_a_page_that_is_no_json_is_no_superset(url: str) -> None:
    with pytest.raises(SupersetError, match="is it the address of a Superset"):
        Superset(url).get("page/")
