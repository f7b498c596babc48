"""Where a dataset's versions lie, when not in the lake: the lake remembers it, so that nobody has to type it again.

    <lake>/versions/<dataset>/store.json    the store's URL or folder, its endpoint and region; never credentials

Whoever asks the lake for a dataset's versions is led there: what the lake itself holds of them is a copy.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from tasks.core.errors import BadArtefact
from tasks.core.progress import LOGGER
from tasks.pipeline.durable_files import write_durably
from tasks.pipeline.stored_names import inside
from tasks.versions.object_store import Objects
from tasks.versions.store import Store

FILE_NAME = "store.json"
# What can still be read of a damaged one, to be offered.
_FIELD = re.compile(rb'"(store|endpoint|region)"\s*:\s*"([!-~]+?)"')
_VARIABLES = {"endpoint": "AWS_ENDPOINT_URL", "region": "AWS_REGION"}


class Address(BaseModel):
    """Of a store: what must be known to open it, except who one is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    store: Store
    endpoint: str | None = None
    region: str | None = None

    @field_validator("store")
    @classmethod
    def _is_named(cls, value: str | None) -> str:
        if value is None:
            raise ValueError("no store is named")
        return value

    @classmethod
    def of(cls, objects: Objects) -> Address:
        """Of a store that is open."""
        return cls(store=objects.where, endpoint=objects.endpoint, region=objects.region)

    @classmethod
    def read(cls, path: Path) -> Address | None:
        """As it was remembered; None where nothing is.

        Raises:
            BadArtefact: the file is damaged.
        """
        if not path.exists():
            return None
        data = b""
        try:
            data = path.read_bytes()
            return cls.model_validate_json(data)
        except (ValidationError, IsADirectoryError) as error:
            raise _damaged(path, data, str(error)) from error

    def open(self) -> Objects:
        """The store; what the environment says of endpoint and region counts more than what was remembered."""
        return Objects(str(self.store), self.endpoint, self.region)

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.store}{f' at {self.endpoint}' if self.endpoint else ''}"


def _damaged(path: Path, data: bytes, problem: str) -> BadArtefact:
    lake, dataset = path.parents[2], path.parent.name
    fields = {name.decode(): value.decode() for name, value in _FIELD.findall(data)}
    variables = "".join(f"{_VARIABLES[name]}={fields[name]} " for name in _VARIABLES if name in fields)
    command = shlex.join(["gradsieve", "maintain", "--lake", str(lake), "--dataset", dataset])
    store = shlex.quote(fields["store"]) if "store" in fields else "STORE, the folder or URL where they lie"
    return BadArtefact(
        where=str(path),
        expected=f"the address of the store in which the versions of {dataset} lie",
        got=problem.replace("\n", " ")[:200],
        do=f"It is written anew by {variables}{command} --store {store}",
    )


def remembered(lake: Path, dataset: str) -> Address | None:
    """What the lake remembers of where a dataset's versions lie; None: in the lake itself, or nowhere yet.

    Raises:
        BadArtefact: that is damaged.
    """
    return _remembered(lake / "versions", dataset)


def is_remembered(lake: Path, dataset: str) -> bool:
    """Whether a dataset's versions lie elsewhere, also where it can no longer be read in which store."""
    return _path(lake / "versions", dataset).exists()


def _remembered(folder: Path, dataset: str) -> Address | None:
    return Address.read(_path(folder, dataset)) if dataset else None


def _path(folder: Path, dataset: str) -> Path:
    return inside(folder, f"{dataset}/{FILE_NAME}")


def remember(lake: Path, dataset: str, objects: Objects) -> None:
    """Keep where a dataset's versions lie; nothing of those that lie in the lake itself.

    What was remembered and is damaged is written anew: whoever comes here has named the store.
    """
    address, path = Address.of(objects), _path(lake / "versions", dataset)
    if str((lake / "versions").resolve()) == objects.where or _read_or_warn(path) == address:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, address.model_dump_json(indent=1, exclude_none=True))


def follow(objects: Objects, dataset: str) -> Objects:
    """Where a dataset's versions lie: the store itself, or the one that a lake remembers."""
    address = _remembered(objects.folder, dataset) if objects.local else None
    return objects if address is None or address.store == objects.where else address.open()


def known(lake: Path, store: str) -> Objects | None:
    """A store that the lake remembers of some dataset, so that endpoint and region need not be said again."""
    addresses = map(_read_or_warn, sorted((lake / "versions").glob(f"[!.]*/{FILE_NAME}")))
    return next((address.open() for address in addresses if address and address.store == store), None)


def objects_of(store: str | None, lake: Path) -> Objects:
    """The store that is named, with a folder for each dataset; the lake's own where none is.

    Raises:
        BadConfig: there is no such place.
    """
    return Objects(lake / "versions") if store is None else known(lake, store) or Objects(store)


def _read_or_warn(path: Path) -> Address | None:
    """For whoever has a store named and needs this only to say less: a damaged file stops nobody."""
    try:
        return Address.read(path)
    except BadArtefact as error:
        LOGGER.warning("%s", error)
        return None
