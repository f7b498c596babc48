"""Bytes under names, on a disk or in an object store: written whole, never changed, created by one writer alone.

    create    succeeds for exactly one of any number of writers, and the name holds all bytes or none: the commit point
    keep      puts a file under a name that says its content, unless it is there already, and is what it was

Everything goes through obstore, so that a folder and a bucket behave alike. A folder needs two things more: that bytes
are flushed before their name appears (obstore does not), and hard links, by which a file of the lake takes space once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from tasks.core.errors import BadArtefact, BadConfig
from tasks.core.system_errors import in_words
from tasks.pipeline.durable_files import PARTIAL, fsync, link_or_copy, sha256_of
from tasks.pipeline.stored_names import inside, key
from tasks.pipeline.verified_files import has_content, reads_content
from tasks.versions.store import check_no_credentials

# How long a store may say nothing, and how long it is asked again: busy ones answer within seconds. An upload or a
# download of any length goes on as long as something moves.
PATIENCE = timedelta(seconds=20)
_LONGEST = timedelta(hours=6)
# By which names the environment says where an S3 store is, the first that is there.
_ENDPOINT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
# Objects of buckets that this process has read and found to be right: (place, name, state, SHA-256).
_KNOWN: set[tuple[str, str, str, str]] = set()
_PAGE = {"Content-Type": "text/html; charset=utf-8"}  # a browser shows what is called so, and saves anything else
# What the disk refuses for good; what passes by itself is left to whoever tries again.
_PERMANENT_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip


class StoredObject(NamedTuple):
    """One object of a listing."""

    name: str
    size: int
    modified: datetime


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def _remote(url: str, endpoint: str | None, region: str | None) -> ObjectStore:
    """An object store that gives up in seconds where nobody answers: its own patience is three minutes a request."""
    client = {"connect_timeout": PATIENCE, "read_timeout": PATIENCE, "timeout": _LONGEST}
    client |= {"allow_http": True} if (endpoint or "").startswith("http://") else {}
    retry = {"max_retries": 5, "retry_timeout": PATIENCE}
    config = {name: value for name, value in {"endpoint": endpoint, "region": region}.items() if value}
    # Their types differ from cloud to cloud; all of them take these.
    return cast("Any", from_url)(url, config=config or None, client_options=client, retry_config=retry)


class Objects:
    """A folder, or a bucket's prefix.

    An object store must create objects conditionally (``If-None-Match``), as S3 does since 2024. Its credentials come
    from the environment (``AWS_ACCESS_KEY_ID`` …) and stand in no configuration. Its endpoint and region come from
    there as well (``AWS_ENDPOINT_URL``, ``AWS_REGION``), or are those that a lake remembers.

    Args:
        where: a path, or a URL obstore knows (``s3://bucket/prefix``, ``gs://``, ``az://``).
        endpoint: of an S3 store, where the environment names none.
        region: the same.
    """

    def __init__(self, where: str | Path, endpoint: str | None = None, region: str | None = None) -> None:
        self.local = "://" not in str(where)
        self.folder = Path(where).expanduser().resolve() if self.local else Path()
        self.where = str(self.folder if self.local else where)
        # Of other clouds the environment knows them under names of their own.
        is_s3 = self.where.startswith(("s3://", "s3a://"))
        self.endpoint = (_environment(*_ENDPOINT) or endpoint) if is_s3 else None
        check_no_credentials(self.endpoint or "", "variable AWS_ENDPOINT_URL")
        self.region = (_environment(*_REGION) or region) if is_s3 else None
        try:
            self.store = (
                LocalStore(self.folder, mkdir=True) if self.local else _remote(self.where, self.endpoint, self.region)
            )
        except (BaseError, ValueError, OSError) as error:
            raise BadConfig(
                where=f"store {where}",
                expected="a folder, or a URL like s3://bucket/prefix",
                got=str(error).partition("\n")[0],
                do="Check --store, and of an object store its endpoint and region in the environment "
                "(AWS_ENDPOINT_URL, AWS_REGION).",
            ) from error

    def create(self, name: str, data: bytes) -> bool:
        """Put ``data`` under ``name`` if nobody has taken it; False if somebody has."""
        with self._refusals(name):
            if self.local:
                return self._create_durably(name, data)
            try:
                obstore.put(self.store, name, data, mode="create")
            except AlreadyExistsError:
                # A lost answer makes the client ask again, and then it finds its own bytes.
                return self.read(name) == data
            return True

    def _create_durably(self, name: str, data: bytes) -> bool:
        """On a disk: flushed aside, then linked to its name, which fails if the name is taken."""
        with self._aside(name) as aside:
            # By hand: obstore writes to a name of its own first, which a kill would leave behind.
            with self._path(aside).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                obstore.copy(self.store, aside, name, overwrite=False)
            except AlreadyExistsError:
                return False
            self._fsync_folders(name)
            return True

    def keep(self, name: str, source: Path, sha256: str | None = None) -> int:
        """Put the file ``source`` under a name that says its content; bytes that were added: 0 if it is there.

        What is there under the name with another content is damaged, and is put right.

        Args:
            name: of the object.
            source: a file that is as it should be.
            sha256: of the file, if it is known.
        """
        size = source.stat().st_size
        if self.size(name) == size and self.has(name, sha256 or sha256_of(source)):
            return 0
        with self._refusals(name):
            if not self.local:
                obstore.put(self.store, name, source, attributes=_PAGE if name.endswith(".html") else None)
                return size
            with self._aside(name) as aside:
                link_or_copy(source, self._path(aside))
                fsync(self._path(aside))
                obstore.rename(self.store, aside, name)
                self._fsync_folders(name)
        return size

    def has(self, name: str, sha256: str) -> bool:
        """Whether an object that is there has this digest; read once in a process, of a bucket over the network.

        Where ``GRADSIEVE_VERIFY`` is ``size`` nothing is read.
        """
        if self.local:
            path = self._path(name)
            return path.is_file() and has_content(path, sha256)
        with self._refusals(name):
            if not reads_content():
                return True
            found = obstore.head(self.store, name)
            known = (self.where, name, str(found["e_tag"]), sha256)
            if known not in _KNOWN:
                digest = hashlib.sha256()
                for chunk in obstore.get(self.store, name):
                    digest.update(chunk)
                if digest.hexdigest() != sha256:
                    return False
                _KNOWN.add(known)
        return True

    def read(self, name: str) -> bytes:
        """All bytes of ``name``.

        Raises:
            BadArtefact: there is no such object.
        """
        with self._refusals(name):
            return bytes(obstore.get(self.store, name).bytes())

    def size(self, name: str) -> int | None:
        """Length in bytes, None where there is none."""
        self._check(name)
        try:
            with self._refusals(name):
                return int(obstore.head(self.store, name)["size"])
        except BadArtefact:
            return None

    def list(self, prefix: str = "") -> list[StoredObject]:
        """Everything below ``prefix``, by name; what is still being written is left out."""
        with self._refusals(prefix):
            entries = [entry for batch in obstore.list(self.store, prefix or None) for entry in batch]
        objects = (StoredObject(entry["path"], int(entry["size"]), entry["last_modified"]) for entry in entries)
        return sorted(entry for entry in objects if PARTIAL not in entry.name)

    def children(self, prefix: str = "") -> tuple[list[str], list[str]]:
        """Names of the (objects, folders) directly in ``prefix``."""
        with self._refusals(prefix):
            listing = obstore.list_with_delimiter(self.store, prefix or None)
        objects = sorted(Path(entry["path"]).name for entry in listing["objects"])
        folders = sorted(Path(entry).name for entry in listing["common_prefixes"])
        return [name for name in objects if not name.startswith(PARTIAL)], folders

    def delete(self, names: list[str]) -> None:
        """Remove objects; one that is gone already is no error. A name that leads out is one, before any is removed."""
        for name in names:
            self._check(name)
        for name in names:
            try:
                with self._refusals(name):
                    obstore.delete(self.store, name)
            except BadArtefact:
                continue

    def file(self, name: str, scratch: Path) -> Path:
        """A local file with the bytes of ``name``: itself where it lies on a disk, else a copy below ``scratch``."""
        if self.local:
            path = self._path(name)
            if not path.is_file():
                raise self._missing(name)
            return path
        path = inside(scratch, key(name, self.where))
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._refusals(name), path.with_name(f"{PARTIAL}{path.name}").open("wb") as sink:
                for chunk in obstore.get(self.store, name):
                    sink.write(chunk)
            path.with_name(f"{PARTIAL}{path.name}").replace(path)
        return path

    def _path(self, name: str) -> Path:
        return inside(self.folder, name)

    def _check(self, name: str) -> None:
        """Refuse a name that leads out; of a listing the empty one is the whole place."""
        if name:
            key(name, self.where)
        if name and self.local:
            inside(self.folder, name)

    @contextmanager
    def _aside(self, name: str) -> Iterator[str]:
        """A name for what is not final yet, where a run sweeps after a process that was killed."""
        home = name.partition("/")[0] if "/" in name else ""
        aside = f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        aside = f"{home}/{aside}" if home else aside
        self._path(aside).parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
        finally:
            self._path(aside).unlink(missing_ok=True)

    def _fsync_folders(self, name: str) -> None:
        """The name itself is only durable once its folder is, and a new folder once the one it is in."""
        folder = self._path(name).parent
        while folder != self.folder:
            fsync(folder)
            folder = folder.parent
        fsync(folder)

    @contextmanager
    def _refusals(self, name: str) -> Iterator[None]:
        """What the store says, in our own words; that a name is taken is not for here."""
        self._check(name)
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            raise self._missing(name) from error
        except (BaseError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _PERMANENT_ERRNOS:
                raise
            if self.local and (told := in_words(error)) is not None:
                raise told from error
            raise BadConfig(
                where=f"store {self.where}",
                expected="a store that reads and writes",
                got=" ".join(str(error).split()).partition(" Debug source:")[0][:300],
                do="Check the room on the disk; of a bucket --store, and endpoint, region and credentials in "
                "the environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID …).",
            ) from error

    def _missing(self, name: str) -> BadArtefact:
        return BadArtefact(
            where=f"{self.where}/{name}",
            expected="an object that a manifest names",
            got="none",
            do="It was deleted or never copied; gradsieve versions verify says what else is missing.",
        )
