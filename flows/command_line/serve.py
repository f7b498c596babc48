"""``gradsieve serve``: Prefect's server, a worker and our deployments with one command."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.command_line.foreground import say
from tasks.core.errors import BadArtefact, BadConfig
from tasks.core.foreign_code import ALLOW
from tasks.pipeline.lake_check import check_lake

if TYPE_CHECKING:
    from flows.operations.server import Services

# A part that ends is begun again, each time after a longer wait; one that has lived so long has all its lives back.
_WAITS_SECONDS = (1, 5, 30)
_LIVED_SECONDS = 600
# How often it is looked for runs whose process is gone.
_LOOK_SECONDS = 5
# A process that begins says which it is a few seconds after its run is at work.
_SETTLED_SECONDS = 20


class ServeCommand(BaseModel):
    """Start Prefect's server, a worker and the deployments, and keep them until Ctrl-C.

    What they know is kept in the lake (.prefect), and there again after a restart. Set PREFECT_SERVER_API_AUTH_STRING
    to user:password to close the API; where others can reach it, it must be. With GRADSIEVE_WEBHOOK set to an address
    (of Slack, or of what takes {"text": …}) it is called when a run has failed or a cleaning harms.
    """

    model_config = ConfigDict(extra="forbid")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=4200, ge=1, le=65535, description="Port to listen on.")
    pages_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port to show the pages of runs on; default: the next one that is free.",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Runs start on one of them; more than 4 need PostgreSQL.")
    database: str | None = Field(
        default=None,
        description="postgresql+asyncpg://user@host/name, its password in PGPASSWORD; default: SQLite in the lake, or "
        "what PREFECT_SERVER_DATABASE_CONNECTION_URL names.",
    )
    keep_runs_days: float = Field(
        default=30.0,
        gt=0.05,
        description="What Prefect knows of a run goes so long after its end: logs, tables, figures. Versions stay.",
    )
    deployments: Path | None = Field(
        default=None,
        description="YAML file with the deployments: a copy of deployments/prefect.yaml with your data in it, which is "
        "looked at before anything starts. Default: that one.",
    )

    allow_code: bool = Field(
        default=False,
        description="Let runs of deployments and forms import factories of your own (model custom, encoder_factory), "
        "which run as this user.",
    )

    def cli_cmd(self) -> None:
        """Serve until a signal comes."""
        from flows.operations.deployments import schedule_lines
        from flows.operations.server import DEPLOYMENTS, StopRequest, serve
        from tasks.pipeline.page_link import ADDRESS

        stop_event = threading.Event()

        def stop(_signal: int, _frame: Any) -> None:
            stop_event.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        lake = self.lake.expanduser().resolve()
        deployments = (self.deployments or DEPLOYMENTS).expanduser().resolve()
        check_lake(lake)
        check_deployments(deployments, allow_code=self.allow_code)
        # Of the workers, and so of the runs: what is in this shell's environment does not count.
        os.environ[ALLOW] = "true" if self.allow_code else ""
        say("starting Prefect's server, a worker and the pages, for up to 120 s; at first Prefect makes its database")
        try:
            options = (self.host, self.port, self.pages_port, self.workers, self.database, self.keep_runs_days)
            with serve(lake, *options, deployments, stop_event) as services:
                print(f"gradsieve: {services.address}, lake {lake}; logs in {services.home}")
                for line in schedule_lines(services.api):
                    print(f"  {line}")
                print(f"  pages of its runs: {services.environment[ADDRESS]}/RUN_ID.html")
                print(f"For gradsieve review and gradsieve watch: export PREFECT_API_URL={services.address}/api")
                print("Ctrl-C stops it.", flush=True)
                _watch_over(services, stop_event)
        except StopRequest:
            pass
        print("gradsieve: stopped")


def _watch_over(services: Services, stop_event: threading.Event) -> None:
    """Begin server and workers again that end, and runs whose process is gone.

    Raises:
        BadArtefact: one of them has ended too often.
        StopRequest: by a signal, while the server begins again.
    """
    if services.peers is not None:
        services.peers.guard(services.children, stop_event)
    ends: dict[str, list[float]] = {}
    cut_off: set[str] = set()
    last_look = time.monotonic()
    while not stop_event.wait(1):
        if time.monotonic() - last_look > _LOOK_SECONDS:
            last_look = time.monotonic()
            services.resume_later(settled=_SETTLED_SECONDS)
        name = services.first_ended()
        if name is None:
            continue
        if name.startswith("worker") and services.peers is not None and services.peers.is_cut_off(name):
            _rejoin(services, name, cut_off)
            continue
        ends[name] = [at for at in ends.get(name, []) if time.monotonic() - at < _LIVED_SECONDS] + [time.monotonic()]
        if len(ends[name]) > len(_WAITS_SECONDS):
            raise BadArtefact(
                where=name,
                expected="to run until it is stopped",
                got=f"it ended with {services.children[name].returncode}",
                do=f"See {services.home / name}.log.",
            )
        wait = _WAITS_SECONDS[len(ends[name]) - 1]
        print(f"gradsieve: {name} ended with {services.children[name].returncode}, again in {wait} s", flush=True)
        if not stop_event.wait(wait):
            # Where no other worker is at the database, who has no process now was this one's, and need not settle.
            if name.startswith("worker") and services.peers is None:
                services.resume_later(settled=_SETTLED_SECONDS if "worker-2" in services.children else 0)
            services.start_again(name)


def _rejoin(services: Services, name: str, cut_off: set[str]) -> None:
    """Begin a worker again that was cut off from the database, if that answers now; else it is asked another time.

    Meanwhile the server may end as well, and who waited here would wait for it in vain.
    """
    if name not in cut_off:
        print(f"gradsieve: {name} is cut off from the database: its runs end, others may begin them", flush=True)
        cut_off.add(name)
    if services.resume_later(settled=_SETTLED_SECONDS):
        cut_off.remove(name)
        services.start_again(name)


def check_deployments(path: Path, *, allow_code: bool = False) -> None:
    """Look at every deployment's parameters as its run would, so that a wrong word is found now and not at night.

    Raises:
        BadConfig: there is no such file, it is no list of deployments, or a flow would refuse its parameters.
    """
    from flows.command_line.flow_commands import CONFIGURATIONS

    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
        deployments = [
            (each["entrypoint"].rpartition(":")[2], each["name"], dict(each.get("parameters") or {}))
            for each in entries
        ]
        kinds = [CONFIGURATIONS[flow] for flow, _, _ in deployments]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadConfig(
            where=f"{path}",
            expected=f"deployments, each with a name and an entrypoint of one of {', '.join(CONFIGURATIONS)}",
            got=f"{type(error).__name__}: {error}",
            do="Begin with a copy of deployments/prefect.yaml.",
        ) from error
    for (flow, name, parameters), kind in zip(deployments, kinds, strict=True):
        _check_parameters(f"{path}, deployment {flow}/{name}", kind, parameters, allow_code)


def _check_parameters(where: str, kind: type[BaseModel], parameters: dict[str, Any], allow_code: bool) -> None:
    # The server would take them, and each run fail.
    if others := sorted(map(str, parameters.keys() - {"config"})):
        raise BadConfig(
            where=where,
            expected="one parameter, config",
            got=", ".join(others),
            do="Put all options under parameters: config.",
        )
    try:
        model = getattr(kind.model_validate(parameters.get("config", {})), "model", None)
    except ValidationError as error:
        problem = error.errors()[0]
        raise BadConfig(
            where=where,
            expected="parameters as the form takes them",
            got=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
            do="Correct the file.",
        ) from error
    code = None if model is None else model.component.own_code
    if code is not None and not allow_code:
        raise BadConfig(
            where=where,
            expected="no code from outside",
            got=f"the factory {code}",
            do="Start it by gradsieve serve --allow-code: whoever may fill in a form can then make a worker import any "
            "module that it finds.",
        )
