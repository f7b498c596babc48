"""``gradsieve watch``: tells Prefect when data have changed. Plumbing that speaks Prefect's events."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg

from tasks.core.errors import BadConfig, BadInput
from tasks.core.events import DATA_CHANGED
from tasks.pipeline.durable_files import write_durably


class WatchCommand(BaseModel):
    """Send the event gradsieve.data.changed whenever a file or folder has changed and then rested for a while.

    The deployment on-new-data starts by it. What was seen is kept in the lake: after a restart nothing is told twice,
    and nothing that changed meanwhile is missed.
    """

    model_config = ConfigDict(extra="forbid")
    paths: CliPositionalArg[list[Path]] = Field(min_length=1, description="Files and folders.")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    every: float = Field(default=10.0, gt=0, description="Seconds between looks; a change counts once two are alike.")
    once: bool = Field(default=False, description="Look twice, tell, and end: for a cron of your own.")

    def cli_cmd(self) -> None:
        """Look until interrupted."""
        from prefect.settings import get_current_settings

        lake = self.lake.expanduser().resolve()
        paths = [path.expanduser().resolve() for path in self.paths]
        for path in paths:
            _check(path, lake)
        if not get_current_settings().api.url:
            raise BadConfig(
                where="the Prefect server",
                expected="its address in PREFECT_API_URL",
                got="none",
                do="gradsieve serve prints it.",
            )
        state_file = lake / "watched.json"
        before = {path: look(path) for path in paths}
        while True:
            time.sleep(self.every)
            now = {path: look(path) for path in paths}
            for path in paths:
                if now[path] == before[path] and now[path] != last_stamp(state_file, path):
                    _tell(path, state_file, now[path], last=self.once)
            if self.once:
                return
            before = now


def _check(path: Path, lake: Path) -> None:
    if not path.exists():
        raise BadInput(where=str(path), expected="a file or a folder", got="none", do="Check the path.")
    if lake.is_relative_to(path):
        raise BadConfig(
            where=f"folder {path}",
            expected="one without the lake in it: every run writes there, and would start the next",
            got=f"the lake {lake}",
            do="Watch a folder of data alone, or name another lake with --lake.",
        )


def _tell(path: Path, state_file: Path, stamp: str, *, last: bool) -> None:
    """Tell, and remember it only once the server has heard.

    Raises:
        BadConfig: the server does not listen, and there is no later look.
    """
    from httpx import HTTPError

    try:
        tell(path)
    except (HTTPError, OSError) as error:
        if last:
            raise BadConfig(
                where="the Prefect server",
                expected="an answer",
                got=f"{type(error).__name__} {error}",
                do="Check PREFECT_API_URL and PREFECT_API_AUTH_STRING, and that gradsieve serve runs.",
            ) from error
        print(f"{path} has changed, but the Prefect server did not listen ({error}); told again later", flush=True)
        return
    keep(state_file, path, stamp)
    print(f"{path} has changed", flush=True)


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


def last_stamp(state_file: Path, path: Path) -> str | None:
    """What was seen when it was last told of."""
    return json.loads(state_file.read_text(encoding="utf-8")).get(str(path)) if state_file.is_file() else None


def keep(state_file: Path, path: Path, stamp: str) -> None:
    """Remember it."""
    state_file.parent.mkdir(parents=True, exist_ok=True)
    stamps = json.loads(state_file.read_text(encoding="utf-8")) if state_file.is_file() else {}
    write_durably(state_file, json.dumps(stamps | {str(path): stamp}, indent=1))


def tell(path: Path) -> None:
    """Send the event; it has arrived when this returns. Prefect's own emit_event drops what nobody listens to.

    Raises:
        HTTPError: the server did not take it.
    """
    from prefect.client.orchestration import get_client
    from prefect.events import Event

    event = Event(
        event=DATA_CHANGED,
        resource={"prefect.resource.id": f"gradsieve.data.{path}"},  # pyright: ignore[reportArgumentType]
        payload={"path": str(path)},
    )
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
