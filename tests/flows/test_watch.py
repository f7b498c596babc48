"""Changed data are told once, after they have rested, and never to nobody."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request

import pytest

from flows.command_line.watch import WatchCommand, look
from tasks.core.errors import BadConfig


def told(server: str) -> list[str]:
    """Paths of the events that the server has."""
    events = {"filter": {"event": {"name": ["gradsieve.data.changed"]}}, "limit": 50}
    asked = urllib.request.Request(f"{server}/events/filter", json.dumps(events).encode())  # noqa: S310  our own
    asked.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        return [event["payload"]["path"] for event in json.load(answer)["events"]]


def test_several_files_and_folders_are_told_of_once_each_and_again_when_they_change(gradsieve, server, tmp_path):
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "below" / "a.csv").write_text("1")
    (tmp_path / "b.csv").write_text("1")
    watch = ["watch", str(tmp_path / "folder"), str(tmp_path / "b.csv"), "--lake", str(tmp_path / "lake")]
    watch += ["--once", "--every=0.1"]
    assert gradsieve(*watch).stdout.count("has changed") == 2
    (tmp_path / "folder" / "below" / "a.csv").write_text("12")
    again = gradsieve(*watch)
    assert again.stdout == f"{tmp_path / 'folder'} has changed\n", again.stderr
    deadline = time.monotonic() + 20
    while len(paths := [path for path in told(server) if path.startswith(str(tmp_path))]) < 3:
        assert time.monotonic() < deadline, paths
        time.sleep(0.3)
    assert sorted(paths) == [str(tmp_path / "b.csv"), *[str(tmp_path / "folder")] * 2]


def test_what_no_server_heard_is_told_again(gradsieve, tmp_path):
    (tmp_path / "b.csv").write_text("1")
    watch = ["watch", str(tmp_path / "b.csv"), "--lake", str(tmp_path / "lake"), "--once", "--every=0.1"]
    unheard = subprocess.run(
        [sys.executable, "-m", "flows", *watch],
        env={"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0", "PATH": "/usr/bin:/bin"}
        | {"PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (unheard.returncode, "PREFECT_API_URL" in unheard.stderr) == (2, True), unheard.stderr
    assert gradsieve(*watch).stdout == f"{tmp_path / 'b.csv'} has changed\n"


def test_a_file_that_is_still_written_is_not_told_of(gradsieve, tmp_path):
    (tmp_path / "b.csv").write_text("1")
    script = "import sys, time, pathlib\nwhile True: pathlib.Path(sys.argv[1]).open('a').write('1'); time.sleep(0.05)"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "b.csv")]) as writing:
        watch = ["watch", str(tmp_path / "b.csv"), "--lake", str(tmp_path / "lake"), "--once", "--every=1"]
        done = gradsieve(*watch)
        writing.kill()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_folder_with_the_lake_in_it_is_refused(tmp_path):
    with pytest.raises(BadConfig, match="one without the lake in it"):
        WatchCommand(paths=[tmp_path], lake=tmp_path / "lake", once=True).cli_cmd()


def test_every_change_of_a_folder_is_seen(tmp_path):
    (tmp_path / "a").write_text("1")
    seen = {look(tmp_path)}
    (tmp_path / "a").write_text("12")
    seen.add(look(tmp_path))
    (tmp_path / "b").write_text("")
    seen.add(look(tmp_path))
    (tmp_path / "a").rename(tmp_path / "c")
    seen.add(look(tmp_path))
    assert len(seen) == 4
