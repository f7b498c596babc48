"""What deployments/README.md says is true: line by line, from a served lake to a version that is taken back."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tasks.versions.history import History
from tasks.versions.object_store import Objects

pytestmark = pytest.mark.server
README = (Path(__file__).resolve().parents[2] / "deployments" / "README.md").read_text()
SECTION = README[README.index("## Start") : README.index("## Night after night")]
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", SECTION, re.DOTALL)]
MINUTE = 60


class Terminal:
    """A second terminal, in the folder where ``gradsieve serve`` was started."""

    def __init__(self, serving, nursery, folder: Path) -> None:
        self.serving, self.nursery, self.folder = serving, nursery, folder
        self.variables: dict[str, str] = {}

    def type(self, line: str) -> str:
        """What it answers."""
        # A port of our own, and a lake that has an absolute path wherever the worker looks from.
        line = line.replace("http://127.0.0.1:4200", self.serving.address)
        line = line.replace('"lake": "data"', f'"lake": "{self.serving.lake}"')
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.variables[name] = value
            return ""
        program, *words = shlex.split(line)
        if program == "gradsieve":
            done = self.nursery.run(words, None, self.folder, **self.variables)
        else:
            done = self.nursery.module(program, *words, folder=self.folder, **self.variables)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def runs(self, deployment: str) -> list[dict]:
        """Of a deployment that were started by us and not by its own schedule."""
        of_it = {"deployments": {"id": {"any_": [self.serving.deployments[deployment]]}}}
        return [run for run in self.serving.runs(**of_it) if not run["auto_scheduled"]]

    def until_all_are(self, deployment: str, number: int, *states: str) -> None:
        """Wait until so many runs of a deployment are in one of some states."""

        def there() -> bool:
            found = [run["state_name"] for run in self.runs(deployment)]
            assert not {"Failed", "Crashed"} & {*found}, self.serving.log()[-3000:]
            return len([state for state in found if state in states]) >= number

        self.serving.until(there, f"{number} × {states} of {deployment}: {self.runs(deployment)}", 5 * MINUTE)


@pytest.fixture(scope="module")
def terminal(nursery, serve, cleaned, tmp_path_factory) -> Terminal:
    """With the main job done already, as the README has it by then, and data in a folder.

    All of it comes from the nursery; as it is shipped it is seen in test_serve.py. Runs by clean's deployments are as
    they are shipped, but prove with one seed.
    """
    folder = tmp_path_factory.mktemp("operated")
    shutil.copytree(cleaned.lake, folder / "data")
    (folder / "incoming").mkdir()
    (folder / "incoming" / "a.csv").write_text("x,label\n1,a\n")
    # Nobody asks for its task runs: to write down those of a cleaning takes half a second.
    serving = serve(folder / "data", PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED="false")
    for name in ("nightly", "on-new-data"):
        home = f"deployments/{serving.deployments[name]}"
        shipped = serving.ask(home, "GET")["parameters"]["config"]
        serving.ask(home, "PATCH", parameters={"config": shipped | {"verification": {"seeds": 1}}})
    return Terminal(serving, nursery, folder)


@pytest.mark.timeout(1200)
def test_every_line_does_what_is_said_of_it(terminal):
    serve, runs, review, back = BLOCKS
    assert serve == ["gradsieve serve"]  # the fixture's
    export, triggered, scheduled, watched = runs
    terminal.type(export)
    assert "Completed" in terminal.type(triggered)
    terminal.type(scheduled)
    assert "has changed" in terminal.type(watched)
    terminal.until_all_are("nightly", 2, "Completed")
    terminal.until_all_are("on-new-data", 1, "Completed")

    asked, listed, approved = review
    terminal.type(asked)
    terminal.until_all_are("nightly", 1, "Paused")
    assert "clean digits" in terminal.type(listed)
    assert "approve by" in terminal.type(approved)
    terminal.until_all_are("nightly", 3, "Completed")
    history = History(Objects(terminal.serving.lake / "versions"), "digits")
    reviewed = history.manifest(history.numbers()[-1])
    assert reviewed.removed == 20

    versions, rollback, maintain = back
    assert reviewed.version in terminal.type(versions)
    assert "holds the rows of v0001" in terminal.type(rollback)
    assert history.resolve("current").rollback_of == "v0001"
    assert "would go" in terminal.type(maintain)
