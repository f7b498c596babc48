"""Seals: what a manifest or a link of the log says of itself and of the documents before it.

A seal names the document before it in its own chain and the newest one of the other chain, each by the SHA-256 of its
bytes, and holds the digest of its own content. Whoever alters a document breaks its digest; whoever mends the digest
breaks what the next documents say of it. Who may rewrite all documents may rewrite all of that as well, but for the
signature: HMAC-SHA256 of the digest, where the environment has a key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import BadConfig

SIGNING_KEY = "GRADSIEVE_SIGNING_KEY"
"""Name of the variable that holds the key; it is kept nowhere."""
_KEY_LENGTH = 16
Signature = Literal["valid", "other", "none", "unchecked"]
"""valid: by this key. other: by another key, or forged. none: not signed. unchecked: signed, and here is no key"""
Document = TypeVar("Document", bound=BaseModel)


class Named(BaseModel):
    """A document of a dataset, by what it was when it was named."""

    model_config = ConfigDict(frozen=True)
    name: str
    """Below the dataset: v0002.json, log/000003.json."""
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> Named:
        """A document of these bytes."""
        return cls(name=name, sha256=sha256(data))


class Seal(BaseModel):
    """What makes a document one of a chain."""

    model_config = ConfigDict(frozen=True)
    before: Named | None = None
    """The document before it: the version before, the link before."""
    beside: Named | None = None
    """The newest document of the other chain: of a version a link, of a link a version."""
    digest: str = ""
    """SHA-256 of the document without this line and the next."""
    signature: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Seal | None:
        """The seal of a document; None where it has none, or none that can be read."""
        try:
            return cls.model_validate(json.loads(data)["seal"])
        except (ValidationError, ValueError, TypeError, KeyError, RecursionError):
            return None

    @property
    def names(self) -> list[Named]:
        """The documents it names."""
        return [named for named in (self.before, self.beside) if named is not None]


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sealed(document: Document, before: Named | None, beside: Named | None) -> Document:
    """A document with its seal, signed where the environment has a key."""
    blank = Seal(before=before, beside=beside)
    digest = _digest(json.loads(document.model_copy(update={"seal": blank}).model_dump_json()))
    seal = blank.model_copy(update={"digest": digest, "signature": _signature(digest)})
    return document.model_copy(update={"seal": seal})


def is_unbroken(data: bytes) -> bool:
    """Whether a document is as it was sealed; one without a seal is none of a chain, and has nothing to break."""
    try:
        document = json.loads(data)
        seal = document.get("seal")
        return seal is None or Seal.model_validate(seal).digest == _digest(document)
    except (ValueError, AttributeError, RecursionError):
        return False


def signature_of(seal: Seal | None) -> Signature:
    """How far a seal is signed."""
    if seal is None or seal.signature is None:
        return "none"
    expected = _signature(seal.digest)
    if expected is None:
        return "unchecked"
    return "valid" if hmac.compare_digest(expected, seal.signature) else "other"


def has_key() -> bool:
    """Whether the environment has a key to sign with.

    Raises:
        BadConfig: it is too short to be one.
    """
    return _key() is not None


def _digest(document: Any) -> str:
    seal = {name: value for name, value in document["seal"].items() if name not in ("digest", "signature")}
    return sha256(json.dumps(document | {"seal": seal}, sort_keys=True).encode())


def _signature(digest: str) -> str | None:
    key = _key()
    return None if key is None else hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    value = os.environ.get(SIGNING_KEY, "")
    if value and len(value) < _KEY_LENGTH:
        raise BadConfig(
            where=f"variable {SIGNING_KEY}",
            expected=f"a secret of at least {_KEY_LENGTH} characters",
            got=f"{len(value)}",
            do=f'export {SIGNING_KEY}="$(openssl rand -hex 32)", and keep it: without it no signature can be checked.',
        )
    return value.encode() or None
