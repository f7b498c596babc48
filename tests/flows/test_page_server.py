"""The pages of a lake are shown by HTTP to whoever has the password, and nothing else of the lake is."""

from __future__ import annotations

import http.client
from base64 import b64encode
from pathlib import Path
from threading import Thread

import pytest

from flows.operations.listening import check
from flows.operations.page_server import PASSWORD, page_of, page_server
from tasks.core.errors import BadConfig
from tasks.pipeline.page_link import ADDRESS, LAKE, link_to

LOGIN = "ann:öpen sesame"


@pytest.fixture
def lake(tmp_path) -> Path:
    lake = tmp_path / "lake"
    (lake / "reports" / "deep").mkdir(parents=True)
    (lake / "reports" / "pets-1.html").write_text("<p>a page</p>")
    (lake / "reports" / "pets-1.csv").write_text("no page")
    (lake / "reports" / "deep" / "pets-2.html").write_text("not here")
    (lake / "secret.html").write_text("not here either")
    (lake / "reports" / "link.html").symlink_to(lake / "secret.html")
    return lake


@pytest.fixture
def ask(lake):
    """(status, headers, body) of a request; of a server that has a password where one is given."""
    servers = []

    def asked(
        target: str,
        method: str = "GET",
        login: str | None = None,
        password: str | None = None,
        host: str = "",
        scheme: str = "Basic",
        address: str | None = None,
    ):
        server = page_server(lake, "127.0.0.1", 0, password, address)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        headers = {"Authorization": f"{scheme} {b64encode(login.encode()).decode()}"} if login else {}
        connection.request(method, target, headers=headers | ({"Host": host} if host else {}))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    yield asked
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_page_is_shown_as_it_is_and_a_browser_is_told_to_fetch_nothing_for_it(ask):
    status, headers, body = ask("/pets-1.html?again#rank-3")
    assert (status, body, headers["Content-Type"]) == (200, b"<p>a page</p>", "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, body = ask("/pets-1.html", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "13", b"")


@pytest.mark.parametrize(
    "target",
    [
        "/", "/reports/pets-1.html", "/pets-1.csv", "/none.html", "/deep/pets-2.html", "/../secret.html",
        "/%2e%2e/secret.html", "/..%2fsecret.html", "//etc/passwd", "/link.html", "/%00.html", "/.html",
        f"/{'a' * 300}.html",
    ],
)  # fmt: skip
def test_nothing_else_is(ask, target):
    assert ask(target)[0] == 404


def test_an_address_that_cannot_be_read_names_no_page(lake):
    assert page_of(lake / "reports", "http://[/pets-1.html") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_written(ask, lake, method):
    assert ask("/pets-1.html", method)[0] == 501
    assert (lake / "reports" / "pets-1.html").read_text() == "<p>a page</p>"


@pytest.mark.parametrize(("login", "status"), [(None, 401), ("ann:wrong", 401), ("ann:", 401), (LOGIN, 200)])
def test_whoever_asks_has_the_password(ask, login, status):
    answer, headers, _ = ask("/pets-1.html", login=login, password=LOGIN)
    assert answer == status
    assert ("WWW-Authenticate" in headers) == (status == 401)


@pytest.mark.parametrize(("scheme", "status"), [("basic", 200), ("BASIC ", 200), ("Bearer", 401), ("", 401)])
def test_the_scheme_of_a_password_has_any_case(ask, scheme, status):
    assert ask("/pets-1.html", login=LOGIN, password=LOGIN, scheme=scheme)[0] == status


def test_an_empty_password_is_none(ask):
    assert ask("/pets-1.html", password="")[0] == 200


def test_an_empty_password_by_which_nobody_would_be_let_in_is_refused_at_the_start(monkeypatch):
    monkeypatch.setenv(PASSWORD, "")
    with pytest.raises(BadConfig, match=f"unset {PASSWORD}"):
        check("127.0.0.1", 0, None, 1, None, None)


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("localhost:1", 200), ("[::1]", 200), ("[", 421), ("[::1", 421), ("[x]", 421)],
)
def test_on_this_machine_a_foreign_name_is_refused(ask, host, status):
    assert ask("/pets-1.html", host=host)[0] == status


@pytest.mark.parametrize(
    ("host", "status"), [("pages.example.org", 200), ("Pages.Example.Org:443", 200), ("localhost", 200), ("evil", 421)]
)
def test_behind_a_proxy_the_name_that_links_have_is_ours_too(ask, host, status):
    assert ask("/pets-1.html", host=host, address="https://pages.example.org/lake")[0] == status


def test_the_link_leads_to_the_server_of_just_this_lake(lake, monkeypatch):
    page = lake.resolve() / "reports" / "pets-1.html"
    assert link_to(page) == page.as_uri()
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:4201/")
    monkeypatch.setenv(LAKE, str(lake))
    assert link_to(page) == "http://127.0.0.1:4201/pets-1.html"
    assert link_to(page.parents[2] / "other" / "reports" / "pets-1.html").startswith("file://")
