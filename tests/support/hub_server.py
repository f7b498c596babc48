"""A stand-in for the Hugging Face hub: what its own client asks of it to commit files and tags to a dataset."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """One dataset: its commits, each with all files, and its tags."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], message: str) -> str:
        """The digest of the next commit."""
        oid = hashlib.sha1(f"{len(self.commits)}".encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = files
        self.messages.append(message)
        return oid

    @property
    def head(self) -> str:
        """The newest commit."""
        return list(self.commits)[-1]

    def at(self, revision: str) -> str:
        """The commit of a revision."""
        return self.head if revision == "main" else self.tags.get(revision, revision)


class HubServer(ThreadingHTTPServer):
    """Holds repositories by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}

    @property
    def address(self) -> str:
        """As a client names it."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A server that answers until the end."""
    server = HubServer()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def _answer(self, content: bytes | dict[str, Any] | list[Any], code: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "datasets"] and (repository := self.server.repositories.get("/".join(parts[2:4]))):
            self._about(repository, "/".join(parts[2:4]), parts[4:])
        elif parts[0] == "datasets" and (repository := self.server.repositories.get("/".join(parts[1:3]))):
            oid = repository.at(parts[4])
            data = repository.commits[oid]["/".join(parts[5:])]
            self._answer(data, X_Repo_Commit=oid, ETag=f'"{hashlib.sha256(data).hexdigest()}"')
        else:
            self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

    def _about(self, repository: Repository, name: str, rest: list[str]) -> None:
        if rest[:1] == ["refs"]:
            branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head}]
            tags = [
                {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in repository.tags.items()
            ]
            self._answer({"branches": branches, "converts": [], "tags": tags})
            return
        oid = repository.at(rest[1] if len(rest) > 1 else "main")
        files = repository.commits[oid]
        if rest[:1] == ["tree"]:
            self._answer(
                [{"type": "file", "path": path, "size": len(data), "oid": oid} for path, data in files.items()]
            )
            return
        siblings = [{"rfilename": path} for path in files]
        self._answer({"id": name, "sha": oid, "siblings": siblings, "private": repository.private, "tags": []})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self._chunked()
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[-2:] == ["repos", "create"]:
            self._create(json.loads(body))
            return
        if parts[-1] == "validate-yaml":
            self._answer({"errors": [], "warnings": []})
            return
        repository, (what, revision) = self.server.repositories["/".join(parts[2:4])], parts[4:6]
        if what == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self._answer({"files": modes})
        elif what == "commit":
            self._commit(repository, "/".join(parts[2:4]), [json.loads(line) for line in body.splitlines()])
        elif what == "tag":
            repository.tags[json.loads(body)["tag"]] = repository.at(revision)
            self._answer({})

    def _chunked(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
        exists = name in self.server.repositories
        if not exists:
            repository = self.server.repositories[name] = Repository(
                "private" in (asked.get("visibility"), *(name for name in asked if asked[name] is True))
            )
            repository.commit({".gitattributes": b""}, "initial commit")
        url = f"{self.server.address}/datasets/{name}"
        self._answer({"url": url, "name": name}, 409 if exists else 200)

    def _commit(self, repository: Repository, name: str, lines: list[dict[str, Any]]) -> None:
        files, message = dict(repository.commits[repository.head]), ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(files, message)
        self._answer(
            {"commitOid": oid, "commitUrl": f"{self.server.address}/datasets/{name}/commit/{oid}", "success": True}
        )
