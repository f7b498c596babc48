"""The pages of a lake's runs by HTTP, for a browser that opens no file of this machine: read-only, and nothing else.

    python -m flows.operations.page_server LAKE HOST PORT

Behind the same password as Prefect's API, where that has one. A page is named whole; there is no list of them.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from tasks.pipeline.page_link import ADDRESS

PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105  its name
# A page runs its own scripts, which its own policy names by their hashes; both policies hold.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The page that a run waits with is replaced at its end.
    "Cache-Control": "no-store",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that nobody else can reach."""
_CHUNK = 1 << 20


def page_of(folder: Path, target: str) -> Path | None:
    """The page that a request names: a file of the folder itself whose name ends in .html; None for all else.

    Args:
        folder: with the pages.
        target: of the request, as it came.
    """
    try:
        name = unquote(urlsplit(target).path).removeprefix("/")
    except ValueError:
        return None
    # No file's name is longer than 255.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,249}\.html", name):
        return None
    path = folder / name
    # A link may lead out of the folder.
    return path if path.is_file() and path.resolve().parent == folder.resolve() else None


class Handler(BaseHTTPRequestHandler):
    """Answers for one page."""

    folder: ClassVar[Path]
    login: ClassVar[str | None]
    """``user:password``, where one is asked for."""
    names: ClassVar[tuple[str, ...] | None]
    """By which a browser may know this server; None: by any."""
    server_version, sys_version = "gradsieve", ""
    timeout = 30

    def do_GET(self) -> None:
        """The page."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Whether there is such a page."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        page = page_of(self.folder, self.path)
        if not self._is_ours():
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        elif not self._may():
            self._refuse(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", 'Basic realm="gradsieve", charset="UTF-8"'))
        elif page is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            with page.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                self._head(HTTPStatus.OK, "text/html; charset=utf-8", length)
                while body and (chunk := file.read(_CHUNK)):
                    self.wfile.write(chunk)

    def _is_ours(self) -> bool:
        """Whether it is asked by a name of ours: a foreign page may have its own name lead to this machine."""
        if self.names is None:
            return True
        try:
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname in self.names
        except ValueError:
            return False

    def _may(self) -> bool:
        if self.login is None:
            return True
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        expected = base64.b64encode(self.login.encode())
        return scheme.lower() == "basic" and hmac.compare_digest(given.strip().encode(), expected)

    def _refuse(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        self._head(status, "text/plain; charset=utf-8", len(text), *headers)
        if self.command != "HEAD":
            self.wfile.write(text)

    def _head(self, status: HTTPStatus, kind: str, length: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*_HEADERS.items(), ("Content-Type", kind), ("Content-Length", str(length)), *headers):
            self.send_header(name, value)
        self.end_headers()


def page_server(lake: Path, host: str, port: int, login: str | None, address: str | None = None) -> ThreadingHTTPServer:
    """A server of the lake's pages, ready to serve.

    Args:
        lake: whose reports.
        host: to listen on.
        port: to listen on; 0 for any.
        login: ``user:password``; None or nothing for no password.
        address: by which links name it, a proxy's for example, which may pass that name on.
    """
    proxy = urlsplit(address or "").hostname
    names = (*LOOPBACK, *([proxy] if proxy else ())) if host in LOOPBACK else None
    handler = type("LakeHandler", (Handler,), {"folder": lake / "reports", "login": login or None, "names": names})
    kind = type("PageServer", (ThreadingHTTPServer,), {"address_family": family_of(host), "daemon_threads": True})
    return kind((host, port), handler)


def family_of(host: str) -> socket.AddressFamily:
    """Of the addresses that a host's is one of."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def main(arguments: list[str]) -> None:
    """Serve until a signal ends it."""
    lake, host, port = arguments
    login, address = os.environ.get(PASSWORD), os.environ.get(ADDRESS)
    page_server(Path(lake), host, int(port), login, address).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
