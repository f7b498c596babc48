"""Where a dataset's versions lie, when not in the lake: the lake remembers it, so that nobody has to type it again.

    <lake>/versions/<dataset>/store.json    the store's URL or folder, its endpoint and region; never credentials

Whoever asks the lake for a dataset's versions is led there: what the lake itself holds of them is a copy.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import BadArtefact
from tasks.pipeline.durable_files import write_durably
from tasks.pipeline.stored_names import inside
from tasks.versions.object_store import Objects
from tasks.versions.store import Store

FILE_NAME = "store.json"


class Address(BaseModel):
    """Of a store: what must be known to open it, except who one is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    store: Store
    endpoint: str | None = None
    region: str | None = None

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
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise BadArtefact(
                where=str(path),
                expected="the address of a store",
                got=str(error).replace("\n", " ")[:200],
                do="Delete the file, then name the store once with --store.",
            ) from error

    def open(self) -> Objects:
        """The store; what the environment says of endpoint and region counts more than what was remembered."""
        return Objects(str(self.store), self.endpoint, self.region)

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.store}{f' at {self.endpoint}' if self.endpoint else ''}"


def remembered(lake: Path, dataset: str) -> Address | None:
    """What the lake remembers of where a dataset's versions lie; None: in the lake itself, or nowhere yet."""
    return _remembered(lake / "versions", dataset)


def _remembered(folder: Path, dataset: str) -> Address | None:
    return Address.read(inside(folder, f"{dataset}/{FILE_NAME}")) if dataset else None


def remember(lake: Path, dataset: str, objects: Objects) -> None:
    """Keep where a dataset's versions lie; nothing of those that lie in the lake itself."""
    address = Address.of(objects)
    if str((lake / "versions").resolve()) == objects.where or remembered(lake, dataset) == address:
        return
    path = inside(lake / "versions", f"{dataset}/{FILE_NAME}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, address.model_dump_json(indent=1, exclude_none=True))


def follow(objects: Objects, dataset: str) -> Objects:
    """Where a dataset's versions lie: the store itself, or the one that a lake remembers."""
    address = _remembered(objects.folder, dataset) if objects.local else None
    return objects if address is None or address.store == objects.where else address.open()


def known(lake: Path, store: str) -> Objects | None:
    """A store that the lake remembers of some dataset, so that endpoint and region need not be said again."""
    addresses = (Address.read(path) for path in sorted((lake / "versions").glob(f"[!.]*/{FILE_NAME}")))
    return next((address.open() for address in addresses if address and address.store == store), None)
