"""Superset's REST API as far as the boards need it: log in, import, export, roles and rules of rows.

https://superset.apache.org/docs/api
"""

import json
from typing import Any

import urllib3

from deploy.command import DeployError

TIMEOUT = urllib3.Timeout(connect=10, read=180)
# https://docs.preset.io/docs/using-the-preset-api
PRESET_LOGIN = "https://api.app.preset.io/v1/auth/"
PAGE = 100
Body = dict[str, Any]


class SupersetError(DeployError):
    """Superset refuses a request or does not answer. The message ends with the next step."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Superset:
    """A session of Superset's API: the token, and the cookie that its CSRF token belongs to."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = urllib3.PoolManager(timeout=TIMEOUT, retries=False)
        self._headers: dict[str, str] = {}

    def log_in(self, user: str, password: str) -> None:
        """Open a session with a user of Superset's own database, or of its LDAP server.

        Raises:
            SupersetError: the login is refused.
        """
        body = {"username": user, "password": password, "provider": "db", "refresh": False}
        self.use_token(str(self.send("POST", "security/login", body)["access_token"]))

    def log_in_to_preset(self, name: str, secret: str) -> None:
        """Open a session of a Preset workspace with an API token of Preset.

        Raises:
            SupersetError: Preset refuses the token.
        """
        answer = self._request(
            "POST", PRESET_LOGIN, body=json.dumps({"name": name, "secret": secret}).encode()
        )
        self.use_token(str(answer["payload"]["access_token"]))

    def use_token(self, token: str) -> None:
        """Use a token, and get the CSRF token that writing needs.

        Raises:
            SupersetError: the token is refused.
        """
        self._headers = {"Authorization": f"Bearer {token}", "Referer": self.url}
        self._headers["X-CSRFToken"] = str(self.get("security/csrf_token/")["result"])

    def get(self, path: str, query: str = "") -> Body:
        """Return what is at a path below /api/v1/. The query is in Rison."""
        return self.send("GET", path + (f"?q={query}" if query else ""))

    def send(self, method: str, path: str, body: Body | None = None) -> Body:
        """Send a JSON request to a path below /api/v1/, and return the response.

        Raises:
            SupersetError: Superset refuses it or does not answer.
        """
        data = json.dumps(body).encode() if body is not None else None
        return self._request(method, f"{self.url}/api/v1/{path}", body=data)

    def every(self, path: str, query: str = "") -> list[Body]:
        """Return all entries of a list, page by page. The query is the inside of a map in Rison."""
        found: list[Body] = []
        for page in range(1000):
            parts = [part for part in (query, f"page:{page}", f"page_size:{PAGE}") if part]
            entries = self.get(path, f"({','.join(parts)})")["result"]
            found += entries
            if len(entries) < PAGE:
                break
        return found

    def import_assets(self, bundle: bytes, secrets: dict[str, dict[str, str]]) -> None:
        """Import a bundle. What it holds replaces what has the same uuid.

        Raises:
            SupersetError: Superset refuses an asset; the message holds its reasons.
        """
        fields: dict[str, str | bytes | tuple[str, str | bytes, str]] = {
            "bundle": ("tugboat.zip", bundle, "application/zip"),
            "encrypted_extra_secrets": json.dumps(secrets),
        }
        data, content_type = urllib3.encode_multipart_formdata(fields)
        self._request("POST", f"{self.url}/api/v1/assets/import/", data, {"Content-Type": content_type})

    def export_assets(self) -> bytes:
        """Return every asset of this Superset as a zip file."""
        return self._answer("GET", f"{self.url}/api/v1/assets/export/", None, {}).data

    def _request(
        self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Body:
        response = self._answer(method, url, body, headers or {"Content-Type": "application/json"})
        try:
            answer: Body = json.loads(response.data or b"{}")
        except ValueError:
            raise SupersetError(
                f"{url} answers no JSON: is it the address of a Superset? Correct SUPERSET_URL"
            ) from None
        return answer

    def _answer(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        sent = self._headers | headers if url.startswith(self.url) else headers
        try:
            response = self._http.request(method, url, body=body, headers=sent, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise SupersetError(
                f"{url} does not answer: {error}. Check the address, and try again"
            ) from error
        if cookie := response.headers.get("Set-Cookie"):
            self._headers["Cookie"] = cookie.partition(";")[0]
        if response.status >= 300:
            reasons = _reasons(response.data)
            raise SupersetError(
                f"{method} {url} was refused with status {response.status}: {reasons}\n{_remedy(response.status)}",
                response.status,
            )
        return response


def _reasons(data: bytes) -> str:
    """Return the messages of an error response. Superset nests the reasons for a refused asset."""
    try:
        body = json.loads(data)
    except ValueError:
        return data[:300].decode(errors="replace") or "no reason given"
    lines = []
    for error in body.get("errors", []) if isinstance(body, dict) else []:
        lines.append(str(error.get("message", "")))
        extra = {key: value for key, value in (error.get("extra") or {}).items() if key != "issue_codes"}
        lines += [f"  {name}: {reason}" for name, reason in extra.items()]
    return "\n".join(lines) or str(body.get("message", body) if isinstance(body, dict) else body)


def _remedy(status: int) -> str:
    if status in (301, 302, 303, 307, 308):
        return "SUPERSET_URL redirects: set it to the address in the browser, with https"
    if status == 401:
        return "Check SUPERSET_USER and SUPERSET_PASSWORD, SUPERSET_TOKEN, or PRESET_TOKEN and PRESET_SECRET"
    if status == 403:
        return "The login may not do this: importing boards needs the role Admin"
    if status == 404:
        return "This Superset has no such interface: the boards need Superset 6.1 or later"
    return "Correct the assets below dashboards/assets, then run the same command again"
