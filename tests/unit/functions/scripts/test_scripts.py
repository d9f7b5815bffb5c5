"""GET /tugboat.js: the built script, cached by browsers, and revalidated without a body."""

import json
from typing import Any

import pytest

from functions.scripts import scripts
from local.aws.proxy_event import Request
from testing.api import invoke


def ask(path: str, **headers: str) -> dict[str, Any]:
    request = Request(
        "GET",
        path,
        "",
        [(name.replace("_", "-"), value) for name, value in headers.items()],
        b"",
        "203.0.113.9",
    )
    answer: dict[str, Any] = json.loads(invoke(request, path))
    return answer


@pytest.mark.parametrize("path", ["/tugboat.js", "/tugboat-carousel.js"])
@pytest.mark.parametrize("accept", ["*/*", "text/html,*/*;q=0.8", "application/javascript", "image/avif"])
def test_a_script_is_served_as_built_whatever_the_browser_accepts(path: str, accept: str) -> None:
    answer = ask(path, Accept=accept)
    assert answer["statusCode"] == 200
    assert answer["body"] == (scripts.DIST / path[1:]).read_text()
    headers = answer["headers"]
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["Cache-Control"].startswith("public, max-age=3600")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_script_is_served_without_an_accept_header() -> None:
    assert ask("/tugboat.js")["statusCode"] == 200


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_matching_etag_gets_304_and_no_body(form: str) -> None:
    etag = ask("/tugboat.js")["headers"]["ETag"]
    answer = ask("/tugboat.js", If_None_Match=form.format(etag))
    assert (answer["statusCode"], answer["body"]) == (304, "")
    assert answer["headers"]["ETag"] == etag


def test_an_older_etag_gets_the_current_script() -> None:
    assert ask("/tugboat.js", If_None_Match='"0123456789abcdef"')["statusCode"] == 200


def test_the_two_scripts_have_etags_of_their_own() -> None:
    assert ask("/tugboat.js")["headers"]["ETag"] != ask("/tugboat-carousel.js")["headers"]["ETag"]
