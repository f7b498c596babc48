"""A cache key changes with inputs, options and code, and with nothing else."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest

from tasks.ingestion.readers.csv import Csv
from tasks.pipeline.artefacts import Run
from tasks.pipeline.cache_keys import code_digest, content_key
from tasks.pipeline.result_records import SERIALIZER
from tasks.proof.trials import numbered, trials_of
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.detectors.iforest import IForest
from tasks.scoring.detectors.l2 import L2
from tasks.training.models.custom import Custom


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package pkg with a module that imports another inside a function."""
    home = tmp_path / "pkg"
    (home / "deep").mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "deep" / "__init__.py").write_text("")
    (home / "verb.py").write_text(
        "from pkg import noun\n\ndef verb():\n    from .deep.kernel import f\n    return f()\n"
    )
    (home / "noun.py").write_text("N = 1\n")
    (home / "deep" / "kernel.py").write_text('def f():\n    """Doc."""\n    return 1\n')
    (home / "unrelated.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "pkg"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("deep/kernel.py", 'def f():\n    """Doc."""\n    return 2\n', True),
        ("noun.py", "N = 2\n", True),
        ("verb.py", "from pkg import noun\n\ndef verb():\n    return noun.N\n", True),
        ("deep/kernel.py", 'def f():\n    """Another doc."""\n    # and a comment\n    return 1\n', False),
        ("noun.py", "N    =    1\n", False),
        ("unrelated.py", "X = 2\n", False),
    ],
)
def test_only_code_that_is_reached_counts(package, file, text, changes):
    import os

    before = code_digest(["pkg.verb"])
    (package / file).write_text(text)
    later = (package / file).stat().st_mtime_ns + 10_000_000
    os.utime(package / file, ns=(later, later))
    assert (code_digest(["pkg.verb"]) != before) == changes


@pytest.mark.parametrize("there", ["", "later"])
def test_a_module_that_comes_or_goes_between_two_calls_counts(package, there):
    """Where modules are is kept as long as their folders stay as they were."""
    import os

    (package / "noun.py").write_text("from pkg.deep import later\n")
    later = package / "deep" / "later" / "__init__.py"
    later.parent.mkdir()
    if there:
        later.write_text("")
    for folder in (package.parent, package, package / "deep", later.parent):
        os.utime(folder, ns=(1, 1))
    before = code_digest(["pkg.verb"])
    assert code_digest(["pkg.verb"]) == before
    if there:
        later.unlink()
    else:
        later.write_text("")
    assert code_digest(["pkg.verb"]) != before


def test_hashing_code_imports_none_of_it(package):
    (package / "noun.py").write_text("raise RuntimeError('imported')\n")
    code_digest(["pkg.verb"])
    assert "pkg.noun" not in sys.modules


@pytest.fixture
def others_first():
    """Other threads take their turn whenever memory is looked through, also in the midst of a call of Python's own.

    In a long run it is somebody's finaliser that lets them.
    """

    def let(_phase: str, _about: dict[str, int]) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(let)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(let)


@pytest.mark.parametrize("others", [0, 1])
def test_threads_that_ask_at_once_for_code_that_nobody_has_read_get_the_same_digest(package, others_first, others):
    """Python before 3.11.8 counts how deep a tree is for all threads together, and finds that it has miscounted."""
    body = "".join(f"def f{i}(x):\n    return [(x + {i}) * y for y in range({i})]\n" for i in range(20))
    names = [f"pkg.many_{others}_{i}" for i in range(10)]
    for name in names:
        (package / f"{name.partition('.')[2]}.py").write_text(body + f"N = '{name}'\n")
    start, answers = Barrier(12 + others), []

    def asked() -> None:
        start.wait()
        answers.append(code_digest(names))

    def of_a_library() -> None:
        """Reads code as well, and knows of no lock of ours."""
        start.wait()
        while not all(thread.done() for thread in asking):
            with contextlib.suppress(SystemError):
                ast.parse(body)
            time.sleep(0.001)

    with ThreadPoolExecutor(12 + others) as pool:
        asking = [pool.submit(asked) for _ in range(12)]
        for thread in [pool.submit(of_a_library) for _ in range(others)] + asking:
            thread.result()
    assert answers == [code_digest(names)] * 12


def record_of(artefact, **serializer) -> bytes:
    """A record as Prefect writes it."""
    result = json.dumps({"__class__": "tasks.pipeline.artefacts.Artefact", "data": artefact.model_dump(mode="json")})
    return json.dumps({"metadata": {"serializer": SERIALIZER | serializer}, "result": result}).encode()


class Results:
    """What is used of Prefect's result store."""

    def __init__(self, kept: dict | None = None) -> None:
        self.kept = kept or {}
        self.result_storage = self

    def read_path(self, key: str, *, _sync: bool) -> bytes:
        if key not in self.kept:
            raise ValueError(f"Path {key} does not exist.")
        return record_of(self.kept[key])

    def read(self, key: str) -> SimpleNamespace:
        return SimpleNamespace(result=self.kept[key])


def key(run: Run, store: Results | None = None, **parameters) -> str:
    verb = SimpleNamespace(name="score", fn=SimpleNamespace(__module__="tasks.scoring.score"))
    return content_key(SimpleNamespace(task=verb, result_store=store or Results()), {"run": run} | parameters)


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path / "lake", "set")


def stage(run: Run, text: str):
    with run.draft("stage") as draft:
        draft.path("a.txt").write_text(text)
        return draft.commit()


def test_the_run_is_no_part_of_the_key(run, tmp_path):
    assert key(run, seed=1) == key(Run.start(tmp_path / "elsewhere", "other"), seed=1)


def test_how_many_trials_there_are_beside_one_is_not(run):
    flags = stage(run, "flags")
    few, many = (numbered([[trial] for trial in trials_of(flags, "cleaned", [*range(n)])]) for n in (2, 20))
    assert few[1].label(0) != many[1].label(0)
    assert key(run, x=few[1]) == key(run, x=many[1])
    assert key(run, x=few[0]) != key(run, x=few[1])


def test_inputs_options_and_parts_are(run):
    keys = [
        key(run, x=stage(run, "one")),
        key(run, x=stage(run, "two")),
        key(run, x=[stage(run, "one")]),
        key(run, x=1),
        key(run, x="1"),
        key(run, x=IForest()),
        key(run, x=IForest(trees=10)),
        key(run, x=L2()),
        key(run, y=L2()),
    ]
    assert len(set(keys)) == len(keys)
    assert key(run, x=IForest(trees=100)) == key(run, x=IForest()) == key(run, x=DetectorChoice(kind="iforest"))


def test_the_content_of_a_readers_files_is(run, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,label\n1,a\n")
    before = key(run, reader=Csv(path=path))
    path.write_text("x,label\n2,a\n")
    assert key(run, reader=Csv(path=path)) != before


def test_the_code_of_a_custom_model_is(run, package):
    import os

    before = key(run, model=Custom(factory="pkg.noun:N"))
    (package / "noun.py").write_text("N = 3\n")
    os.utime(package / "noun.py", ns=(1, 1))
    assert key(run, model=Custom(factory="pkg.noun:N")) != before


def test_something_without_content_is_refused(run):
    with pytest.raises(TypeError, match="cannot be part of a cache key"):
        key(run, x=object())


def test_a_reference_that_outlived_its_files_does_not_count(run):
    artefact = stage(run, "one")
    store = Results()
    first = key(run, store, x=1)
    store.kept[first] = artefact
    assert key(run, store, x=1) == first
    run.path(artefact).unlink()
    second = key(run, store, x=1)
    assert second != first
    store.kept[second] = stage(run, "one")
    assert key(run, store, x=1) in (first, second)


def test_the_key_of_every_verb_can_be_made_without_torch():
    import subprocess

    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['sklearn'] = None\n"
        "from flows.clean import clean\n"
        "from tasks.pipeline.cache_keys import code_digest\n"
        "print(code_digest(['tasks.training.train', 'tasks.gradients.extract', 'tasks.training.models.resnet']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_threads_that_ask_at_once_get_one_digest_each(monkeypatch):
    """What is kept was iterated while another thread filled it."""
    from concurrent.futures import ThreadPoolExecutor

    from tasks.pipeline import cache_keys

    # As of folders that changed a moment ago: nothing is kept from one call to the next.
    monkeypatch.setattr(cache_keys, "_stamp", lambda folder: sum(map(ord, folder)) and None)
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: cache_keys.code_digest(["tasks.steps"]), range(8)))
    assert len(digests) == 1
