"""``gradsieve watch``: tells Prefect when data have changed. Plumbing that speaks Prefect's events."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg

from tasks.artefacts import write_durably
from tasks.errors import BadConfig, BadInput
from tasks.events import DATA_CHANGED


class WatchCommand(BaseModel):
    """Send the event gradsieve.data.changed whenever a file or folder has changed and then rested for a while.

    The deployment on-new-data starts by it. What was seen is kept in the lake: after a restart nothing is told twice,
    and nothing that changed meanwhile is missed.
    """

    model_config = ConfigDict(extra="forbid")
    path: CliPositionalArg[Path] = Field(description="File or folder.")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    every: float = Field(default=10.0, gt=0, description="Seconds between looks; a change counts once two are alike.")
    once: bool = Field(default=False, description="Look, tell, and end: for a cron of your own.")

    def cli_cmd(self) -> None:
        """Look until interrupted."""
        from prefect.settings import get_current_settings

        if not get_current_settings().api.url:
            raise BadConfig(
                where="the Prefect server",
                expected="its address in PREFECT_API_URL",
                got="none",
                do="gradsieve serve prints it.",
            )
        path = self.path.expanduser().resolve()
        if not path.exists():
            raise BadInput(where=str(path), expected="a file or a folder", got="none", do="Check the path.")
        kept = self.lake.expanduser().resolve() / "watched.json"
        before = look(path)
        while True:
            if not self.once:
                time.sleep(self.every)
            now = look(path)
            if now == before and now != told(kept, path):
                tell(path)
                keep(kept, path, now)
                print(f"{path} has changed", flush=True)
            if self.once:
                return
            before = now


def look(path: Path) -> str:
    """Digest of the names, sizes and times of change of all files."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        try:
            about = file.stat()
        except FileNotFoundError:
            continue
        if file.is_file():
            digest.update(f"{file.relative_to(path.parent)}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def told(kept: Path, path: Path) -> str | None:
    """What was seen when it was last told of."""
    return json.loads(kept.read_text(encoding="utf-8")).get(str(path)) if kept.is_file() else None


def keep(kept: Path, path: Path, seen: str) -> None:
    """Remember it."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    write_durably(kept, json.dumps(known | {str(path): seen}, indent=1))


def tell(path: Path) -> None:
    """Send the event, and wait until it is on its way."""
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    emit_event(DATA_CHANGED, resource={"prefect.resource.id": f"gradsieve.data.{path}"}, payload={"path": str(path)})
    EventsWorker.instance().wait_until_empty()
