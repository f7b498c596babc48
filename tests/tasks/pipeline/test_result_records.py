"""A record of Prefect's is data: what would be unpickled, or name other code, is taken for absent."""

import base64
import json
import pickle
from types import SimpleNamespace

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer

from tasks.pipeline.artefacts import Run
from tasks.pipeline.cache_keys import content_key
from tasks.pipeline.result_records import is_of_artefacts


class Planted:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path / "lake", "set")


@pytest.fixture
def store(tmp_path):
    storage = LocalFileSystem(basepath=str(tmp_path / "results"))
    return ResultStore(result_storage=storage, serializer=JSONSerializer(), cache_result_in_memory=False)


@pytest.fixture
def artefact(run):
    with run.draft("scores") as draft:
        draft.path("scores.txt").write_text("scores")
        return draft.commit(detectors=["l2"])


def key(run, store):
    step = SimpleNamespace(name="score", fn=SimpleNamespace(__module__="tasks.scoring.score"))
    return content_key(SimpleNamespace(task=step, result_store=store), {"run": run})


@pytest.mark.parametrize("several", [False, True])
def test_what_a_step_has_left_is_taken_up(run, store, artefact, several):
    begun = key(run, store)
    store.write([artefact, artefact] if several else artefact, key=begun)
    assert key(run, store) == begun
    assert store.read(begun).result == ([artefact, artefact] if several else artefact)


def test_a_record_of_other_facts_than_its_digest_covers_is_taken_for_absent(run, store, artefact):
    begun = key(run, store)
    store.write(artefact, key=begun)
    assert key(run, store) == begun
    store.write(artefact.model_copy(update={"facts": {"detectors": ["l1"]}}), key=begun)
    assert key(run, store) == f"{begun.removesuffix('0')}1"


def test_a_planted_pickle_is_taken_for_absent_and_never_opened(run, store, artefact, tmp_path):
    begun = key(run, store)
    store.write(artefact, key=begun)
    path = tmp_path / "results" / begun
    record = json.loads(path.read_text())
    record["metadata"]["serializer"] = {"type": "pickle", "picklelib": "cloudpickle"}
    record["result"] = base64.encodebytes(pickle.dumps(Planted(tmp_path / "planted"))).decode()
    path.write_text(json.dumps(record))
    assert key(run, store) == f"{begun.removesuffix('0')}1"
    assert not (tmp_path / "planted").exists()
    # It would have been opened.
    store.read(begun)
    assert (tmp_path / "planted").exists()


def changed(record, **serializer):
    record = json.loads(json.dumps(record))
    record["metadata"]["serializer"] |= serializer
    return record


def test_records_that_name_other_code_are_none_of_ours(run, store, artefact, tmp_path):
    store.write(artefact, key="ours")
    record = json.loads((tmp_path / "results" / "ours").read_text())
    assert is_of_artefacts(json.dumps(record).encode())
    result = json.loads(record["result"])
    others = [
        record | {"result": json.dumps(other)}
        for other in (
            {"__class__": "os.system", "data": "true"},
            {"__exc_type__": "builtins.ValueError", "message": ""},
            result | {"data": result["data"] | {"facts": {"x": [{"__class__": "os.system", "data": "true"}]}}},
            "text",
            [result, {"__class__": "pathlib.Path", "data": "/"}],
        )
    ]
    others += [
        changed(record, object_decoder="os.system"),
        changed(record, jsonlib="os"),
        changed(record, type="pickle"),
    ]
    others += [{}, [], {"metadata": None, "result": "[]"}]
    assert not any(is_of_artefacts(json.dumps(other).encode()) for other in others)
    assert not is_of_artefacts(b"\x80\x04.")
