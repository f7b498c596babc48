"""Whatever the runner, threads or processes or a real cluster started here, the same bytes come out."""

from __future__ import annotations

import pytest

from tasks.core.runner import Runner
from tasks.pipeline.durable_files import sha256_of

# What is computed; the rest of a run folder names the run or the time.
FOLDERS = ("checkpoints", "dynamics", "gradients", "canaries", "predictions")


@pytest.fixture(scope="module")
def by_runner(gradsieve, small, tmp_path_factory):
    """runner → the digests of a run with it, each in a lake of its own."""
    found = {}

    def digests(kind):
        if kind not in found:
            lake = tmp_path_factory.mktemp(kind) / "lake"
            options = [
                "--ingestion.shard-rows=60",
                "--gradient.kind=layers",
                f"--runner.kind={kind}",
                "--runner.workers=2",
            ]
            done = gradsieve("clean", "--lake", str(lake), *small, *options)
            assert done.returncode == 0, done.stderr
            (run,) = (lake / "runs").glob("digits-*")
            files = [path for folder in FOLDERS for path in (run / folder).rglob("*") if path.is_file()]
            found[kind] = {str(path.relative_to(run)): sha256_of(path) for path in files}
        return found[kind]

    return digests


@pytest.mark.parametrize("kind", ["processes", "dask", "ray"])
def test_every_runner_writes_the_bytes_that_threads_write(by_runner, kind):
    threads = by_runner("threads")
    assert len([name for name in threads if name.startswith("gradients/")]) >= 10
    assert by_runner(kind) == threads


def test_an_address_without_a_cluster_is_refused():
    with pytest.raises(ValueError, match=r"runner\.address is for dask and ray, not for threads"):
        Runner(address="tcp://somewhere:8786")


@pytest.mark.parametrize(("kind", "address"), [("processes", "http://127.0.0.1:4321/api"), ("threads", None)])
def test_worker_processes_are_told_of_the_flows_own_temporary_server_and_start_none(monkeypatch, kind, address):
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.pipeline.workers import workers

    server = SubprocessASGIServer()
    monkeypatch.setattr(server, "running", True)
    monkeypatch.setattr(server, "port", 4321)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with workers(Runner(kind=kind, workers=1)):
            assert PREFECT_API_URL.value() == address
        assert PREFECT_API_URL.value() is None
