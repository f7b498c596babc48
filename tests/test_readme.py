"""The five documents are true: commands run, queries answer, examples work, tables and links name what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml
from histories import forge
from pydantic_settings import CliApp

from tasks import steps
from tasks.catalogue.database import connect
from tasks.config import CleanConfig
from tasks.core.plugins import Registry
from tasks.decision.budgets import BUDGETS
from tasks.gradients.kinds import GRADIENTS
from tasks.ingestion.readers import READERS, Reader
from tasks.scoring.detectors import DETECTORS, Detector
from tasks.training.models import MODELS, Model

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = {
    name: (REPOSITORY / name).read_text()
    for name in (
        "README.md", "data/README.md", "deployments/README.md", "tasks/README.md", "tasks/ingestion/README.md",
        "tests/benchmarks/README.md",
    )
}  # fmt: skip
README, COMPONENTS = DOCUMENTS["README.md"], DOCUMENTS["tasks/README.md"]
ALL = "\n".join(DOCUMENTS.values())

# Options of pip and docker, and those that were replaced: named where the changes of a version are.
OF_OTHERS = {"--extra-index-url", "--build-arg", "--training.early-epoch", "--tracing"}
# The commands that a fragment of a command line may belong to; the first that knows its options reads it.
READ_BY = ("clean", "compare", "serve", "reproduce half-moons", "sql", "maintain", "versions vacuum", "trace")
# What the sentence around a fragment says besides.
_OWN, _ENCODER = "--model.kind custom --model.factory nets:small", "--model.encoder-factory nets:features"
BESIDE = {
    "--model.tuning frozen": "--model.kind transformer",
    "--model.kind encoder": "--model.weights FOLDER",
    "--model.head kept": _OWN,
    "--model.normalisation data": _OWN,
    "--model.normalisation imagenet": _OWN,
    "--model.normalisation none": _OWN,
    "--model.normalisation symmetric": f"--model.kind encoder {_ENCODER}",
    "--reader.features embedding --reader.image file": "--reader.path table.parquet",
}
# Read in the test of the detector that it names.
OF_AN_EXAMPLE = "gradsieve clean --detectors l2,linf"


def blocks(language: str, text: str = ALL) -> list[str]:
    """Each fenced block of a language, once."""
    return list(dict.fromkeys(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)))


def example(first_line: str) -> str:
    """The Python example that begins with a line."""
    (code,) = [code for code in blocks("python") if code.startswith(f"{first_line}\n")]
    return code


def commands() -> list[str]:
    """Lines of ``sh`` blocks, each once."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("gradsieve ")))


def fragments() -> list[str]:
    """Whatever a reader may type: commands in blocks and in sentences, and options with their values, one a line."""
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", ALL, flags=re.DOTALL))
    written = [line for block in blocks("(?:sh|bash|text)") for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    lines = [" ".join(line.split()) for line in (*spans, *written) if re.match(r"--[a-z]|gradsieve [a-z]+( |$)", line)]
    # One of several: each.
    several = [(line, re.search(r" ([\w|]+\|\w+)$", line)) for line in dict.fromkeys(lines)]
    return [
        line if choice is None else line.replace(choice[1], one)
        for line, choice in several
        for one in (choice[1].split("|") if choice else [""])
    ]


def named(line: str) -> set[str]:
    """The options that a line names."""
    return set(re.findall(r"(?<!\S)--[a-z][\w.-]*", line)) - OF_OTHERS


def whole_lines() -> list[str]:
    """Fragments that the command line can read: a command with arguments, or an option with its value."""
    lines = [line for line in fragments() if len(line.split()) > 2 or (" " in line and named(line))]
    return [line for line in lines if line != OF_AN_EXAMPLE]


def kinds(text: str, heading: str) -> set[str]:
    """What stands in backquotes in the first column of the table with a heading."""
    rows = text.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {kind for row in rows for kind in re.findall(r"`(\w+)`", row.split("|")[1])}


def anchors(text: str) -> set[str]:
    """The headings, as GitHub writes their addresses."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class CommandLine:
    """The command line as it is, except that nothing is done; its parser, which takes a while, is built once."""

    def __init__(self) -> None:
        from flows.command_line.application import application
        from flows.command_line.switches import with_values

        class Said(application()):  # type: ignore[misc]
            def cli_cmd(self) -> None:
                """Read only."""

        self.application, self.source = Said, with_values(Said)
        self.known = _options(self.source.root_parser)

    def reads(self, line: str) -> Any:
        """What the words behind ``gradsieve`` come to."""
        words = shlex.split(line)[1:]
        return CliApp.run(self.application, cli_args=words, cli_settings_source=self.source)


def _options(parser: ArgumentParser) -> dict[str, set[str]]:
    """Those of each command."""
    below = [action.choices for action in parser._actions if isinstance(action, _SubParsersAction)]
    names = {"": {name for action in parser._actions for name in action.option_strings}}
    for name, inner in (pair for choices in below for pair in choices.items()):
        names |= {f"{name} {rest}".strip(): own for rest, own in _options(inner).items()}
    return names


@pytest.fixture(scope="module")
def command_line() -> CommandLine:
    return CommandLine()


@pytest.fixture(scope="module")
def home(cleaned, tmp_path_factory):
    """A reader's folder: plants.csv, notes.jsonl, run.yaml, nets.py, and a copy of the main job's lake as data."""
    home = tmp_path_factory.mktemp("reader")
    shutil.copytree(cleaned.lake, home / "data")
    generator = np.random.default_rng(0)
    rows = [(*generator.normal(3 * (i % 3), 1, 2), ("iris", "rose", "tulip")[i % 3]) for i in range(240)]
    (home / "plants.csv").write_text("width,height,species\n" + "\n".join(f"{w},{h},{s}" for w, h, s in rows))
    said = {"sport": ("the team won", "a late goal"), "food": ("a warm sauce", "bread and butter")}
    notes = [{"text": f"{said[label][i % 2]}, note {i}", "label": label} for i in range(60) for label in said]
    (home / "notes.jsonl").write_text("\n".join(map(json.dumps, notes)))
    (home / "nets.py").write_text(example("# nets.py"))
    return home


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The component of an example, found as a registry finds it: in a folder that has its file and no other."""

    def component(path: str, base: type) -> Any:
        (tmp_path / "added").mkdir()
        (tmp_path / "added" / "__init__.py").write_text("")
        (tmp_path / "added" / Path(path).name).write_text(example(f"# {path}"))
        assert not (REPOSITORY / path).exists()
        assert (REPOSITORY / path).parent.is_dir()
        monkeypatch.syspath_prepend(tmp_path)
        for module in [name for name in sys.modules if name.partition(".")[0] == "added"]:
            monkeypatch.delitem(sys.modules, module)
        ((kind, component),) = Registry("added", base).components.items()
        assert kind == Path(path).stem
        return component

    return component


# ---- commands ----------------------------------------------------------------------------------------------------


def test_there_are_commands_and_queries_to_test():
    assert len(commands()) >= 15
    assert len(blocks("sql")) >= 14
    assert len(whole_lines()) >= 80


@pytest.mark.parametrize("line", commands())
def test_a_command_runs(line, home, gradsieve):
    done = gradsieve(*shlex.split(line)[1:], folder=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "--output" in line


def test_every_option_that_is_named_is_one(command_line):
    assert sorted(set().union(*map(named, fragments())) - set().union(*command_line.known.values())) == []


@pytest.mark.parametrize("line", whole_lines())
def test_what_is_said_on_a_command_line_is_read_there(line, command_line, tmp_path, monkeypatch):
    # A folder says what it is by what it holds.
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.jpg").touch()
    monkeypatch.chdir(tmp_path)
    if not line.startswith("gradsieve "):
        known = command_line.known
        command = next(command for command in READ_BY if named(line) <= known[command.partition(" half")[0]])
        line = f"gradsieve {command} {line} {BESIDE.get(line, '')}"
    if "--help" in line:
        with pytest.raises(SystemExit, match="0"):
            command_line.reads(line)
    else:
        assert command_line.reads(line)


def test_a_benchmark_is_called_with_options_that_its_script_has():
    lines = re.findall(r"python (tests/benchmarks/\w+\.py)([^`\n|]*)", ALL)
    assert len(lines) >= 12
    for script, arguments in lines:
        source = (REPOSITORY / script).read_text()
        words = re.findall(r"--[\w-]+|\b[a-z0-9]{5,}\b", arguments)
        assert [word for word in words if f'"{word}"' not in source] == [], script


def test_a_configuration_in_a_file_is_read(home, monkeypatch, command_line):
    from flows.command_line.application import run

    monkeypatch.chdir(home)
    (block,) = blocks("yaml", README)
    Path("run.yaml").write_text(block)
    assert "`--config run.yaml`" in README
    read: Any = run(command_line.application, ["clean", "--config", "run.yaml"])
    assert read.clean.configuration() == CleanConfig.model_validate(yaml.safe_load(block))


def test_every_configuration_is_one():
    names = {CleanConfig.model_validate(yaml.safe_load(block)).name for block in blocks("yaml")}
    assert names == {"plants", "notes", "answers"}


def test_ci_runs_the_readmes_test_command():
    script = (REPOSITORY / ".ci" / "run").read_text()
    pattern = re.search(r"/\^(python3 .*?)\$/p", script)
    assert pattern
    setups = re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE)
    assert [line.rpartition("&& ")[2] for line in setups] == [".venv/bin/gradsieve clean", ".venv/bin/pytest"]
    assert [line for line in README.splitlines() if re.fullmatch(pattern[1], line)] == setups[1:]


# ---- SQL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [query for query in blocks("sql") if "shards" in query])
def test_a_query_over_gradients_answers(query, cleaned):
    with connect(cleaned.lake) as db:
        assert db.execute(query).fetchall()


@pytest.mark.parametrize("query", [query for query in blocks("sql") if "shards" not in query])
def test_a_query_answers_without_gradsieve(query, cleaned):
    with duckdb.connect(str(cleaned.lake / "catalogue.duckdb"), read_only=True) as db:
        assert db.execute(query).fetchall()


def test_fifteen_questions_are_answered_in_six_lines_each():
    queries = [query for query in blocks("sql", DOCUMENTS["data/README.md"]) if "?" in query.partition("\n")[0]]
    assert len(queries) >= 15
    assert [query for query in queries if len(query.splitlines()) > 7] == []


def test_no_answer_mixes_datasets(cleaned, tmp_path):
    """In a lake with another dataset of the same samples beside it, all that is said of digits stays the same."""
    lake = tmp_path / "lake"
    shutil.copytree(cleaned.lake, lake)
    (run,) = (lake / "runs").glob("digits-*")
    other = f"other-{run.name.partition('-')[2]}"
    shutil.copytree(run, run.with_name(other))
    shutil.copytree(lake / "versions" / "digits", lake / "versions" / "other")
    for path in (run.with_name(other) / "run.json", *(lake / "versions" / "other").glob("v*.json")):
        text = path.read_text().replace(run.name, other).replace('"dataset": "digits"', '"dataset": "other"')
        path.write_text(text.replace('"dataset":"digits"', '"dataset":"other"'))
    (run.with_name(other) / "manifest.json").unlink()  # it knows the other name's digest
    for path in (lake / "versions" / "other").glob("v*.json"):
        forge(path)
    # A lake is opened once for all queries, not for each.
    with connect(cleaned.lake) as alone, connect(lake) as beside:
        for query in (query for query in blocks("sql") if "shards" not in query):
            answers = []
            for db in (alone, beside):
                relation = db.sql(query)
                rows = relation.fetchall()
                at = relation.columns.index("dataset") if "dataset" in relation.columns else None
                answers.append([row for row in rows if at is None or row[at] == "digits"])
            assert sorted(map(str, answers[0])) == sorted(map(str, answers[1])), query


def test_the_table_of_views_names_every_view_and_its_columns(cleaned):
    with duckdb.connect(str(cleaned.lake / "catalogue.duckdb"), read_only=True) as db:
        there: dict[str, set[str]] = {}
        for view, column in db.execute(
            "SELECT table_name, column_name FROM duckdb_columns() JOIN duckdb_views() v ON table_name = v.view_name "
            "AND v.schema_name = 'main' AND NOT v.internal WHERE duckdb_columns.schema_name = 'main'"
        ).fetchall():
            there.setdefault(view, set()).add(column)
    table = DOCUMENTS["data/README.md"].partition("| view | a row | columns |")[2].partition("\n\n")[0]
    listed: dict[str, set[str]] = {}
    for row in table.splitlines()[2:]:
        _, views, _, columns, _ = row.split("|")
        for view in re.findall(r"`(\w+)`", views):
            listed[view] = set(re.findall(r"`(\w+)`", columns))
    # Two rows say "those of" another view; the scores have a column for each detector.
    listed["suspects"] = listed["suspects"] - {"flags"} | listed["flags"]
    removed = listed["decisions"] - {"decision", "old_label", "new_label"} | {"label"}
    assert listed.pop("removed") == {"label", "decisions", "decision", "old_label", "new_label"}
    listed |= {"removed": removed, "scores": there["scores"]}
    assert listed == there


# ---- examples ----------------------------------------------------------------------------------------------------


def test_a_training_script_reads_the_live_version(home, monkeypatch):
    monkeypatch.chdir(home)
    names: dict = {}
    exec(example("from tasks.versions.live import LiveDataset"), names)  # noqa: S102  the document's own
    x, y = names["train"][0]
    assert (tuple(x.shape), len(names["train"]) > 1000, 0 <= y < 10) == ((1, 8, 8), True, True)


def test_the_example_of_a_detector_is_one(added, monkeypatch, command_line):
    class Shown:
        gradients = property(lambda self: self)

        def __len__(self) -> int:
            return 2

        def blocks(self):
            yield np.array([1, 0]), np.array([[3.0, -6.0], [2.0, 2.0]])

    detector = added("tasks/scoring/detectors/linf.py", Detector)
    assert detector().score(Shown()).tolist() == [2.0, 6.0]
    assert f"`{OF_AN_EXAMPLE}`" in COMPONENTS
    monkeypatch.setitem(DETECTORS.components, "linf", detector)
    assert command_line.reads(OF_AN_EXAMPLE).clean.configuration().names == ["l2", "linf"]


def test_the_example_of_a_reader_is_one(added, tmp_path):
    import pyarrow as pa
    from pyarrow import orc

    from tasks.ingestion.tables.settle import settle

    reader = added("tasks/ingestion/readers/orc.py", Reader)
    table = pa.table({"width": [1.5, 2.0, 4.0], "species": ["iris", "rose", None]})
    orc.write_table(table, str(tmp_path / "plants.orc"))
    settled = settle(*reader(path=tmp_path / "plants.orc", label="species").open(), tmp_path)
    (chunk,) = settled.chunks
    assert (settled.payload.columns, settled.payload.shape) == (("width",), (1,))
    assert (chunk.rows.to_pylist(), chunk.label.to_pylist()) == ([0, 1, 2], ["iris", "rose", None])
    assert chunk.payload["width"].to_pylist() == [1.5, 2.0, 4.0]
    again = reader.example(pa.table({"x": pa.array([1, 2], pa.uint8()), "label": ["a", "b"]}), tmp_path)
    assert next(again.open()[1]).payload["x"].to_pylist() == [1, 2]


def test_the_example_of_a_model_is_one(added):
    import torch

    from tasks.dataset.payload import Payload
    from tasks.gradients.kinds.head import Head

    payload = Payload(kind="array", columns=("x",), shape=(1, 4, 4), dtype="uint8")
    network = added("tasks/training/models/tanh.py", Model)(width=5).build(payload, 3)
    assert network(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    Head().check(network, torch.zeros(2, 1, 4, 4))


# ---- tables, links, lengths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "registry"),
    [
        ("`--reader.kind`", READERS),
        ("`--model.kind`", MODELS),
        ("`--gradient.kind`", GRADIENTS),
        ("kind", DETECTORS),
        ("`--budget.kind`", BUDGETS),
    ],
)
def test_the_tables_of_components_name_what_there_is(header, registry):
    document = "tasks/ingestion/README.md" if registry is READERS else "tasks/README.md"
    lines, components = kinds(DOCUMENTS[document], header), set(registry.components)
    hint = f"give each of {registry.package} its line in the table {header} of {document}"
    assert lines == components, hint


def test_the_table_of_registries_names_their_folders_bases_and_methods():
    registries = (READERS, MODELS, GRADIENTS, DETECTORS, BUDGETS)
    rows = COMPONENTS.partition("| registry | base class |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [re.findall(r"`([\w/]+)`", row) for row in rows]
    assert [folder.rstrip("/").replace("/", ".") for folder, *_ in cells] == [each.package for each in registries]
    assert [base for _, base, *_ in cells] == [each.base.__name__ for each in registries]
    assert all(
        hasattr(each.base, names[-1]) or names[-1] == "batches" for each, names in zip(registries, cells, strict=True)
    )


def test_the_table_of_rooms_is_the_contract():
    import tomllib

    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rows = COMPONENTS.partition("| room | holds |")[2].partition("\n\n")[0].splitlines()[2:]
    rooms = [re.findall(r"`tasks/(\w+)", row)[0] for row in rows]
    assert rooms == contracts[0]["layers"]


def test_the_table_of_deployments_is_their_file():
    file = yaml.safe_load((REPOSITORY / "deployments" / "prefect.yaml").read_text())
    deployed = {f"{each['entrypoint'].rpartition(':')[2]}/{each['name']}" for each in file["deployments"]}
    rows = DOCUMENTS["deployments/README.md"].partition("| deployment | runs |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\S+)`", rows, flags=re.MULTILINE)) == deployed


def test_the_table_of_stages_is_the_flow():
    table = README.partition("| stage | does |")[2].partition("\n\n")[0]
    stages = re.findall(r"^\| (\w+) \|", table, flags=re.MULTILINE)
    names = ("clean", "cross_fitting", "reviewing", "retraining")
    flow, *parts = ((REPOSITORY / "flows" / f"{name}.py").read_text() for name in names)
    flow = flow.partition("Run.start(")[2]
    for part in (function for text in parts for function in re.split(r"\ndef ", text)[1:]):
        name, _, body = part.partition("(")
        flow = flow.replace(f" {name}(", body, 1)
    called = [name for name in re.findall(r"\b(\w+)(?=[(,])", flow) if name in steps.__all__ and name != "follow"]
    # The step that asks for a review runs the stage review.
    assert stages == [{"ask_for_review": "review"}.get(name, name) for name in dict.fromkeys(called)]


def test_the_files_of_the_stages_are_in_the_run_folder(cleaned):
    section = README.partition("## The stages")[2].partition("\n## ")[0]
    patterns = set(re.findall(r"`([\w*/]+\.(?:parquet|pt|arrow|yaml|json))`", section))
    # The run has no base to drift from, searches for no budget, and is given no opinion.
    absent = {pattern for pattern in patterns if not list(cleaned.run_folder.glob(pattern))}
    assert absent == {"drift.parquet", "opinions.parquet", "search.parquet"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_within_the_repository_leads_somewhere(name):
    links = re.findall(r"\]\(([^)]+)\)", DOCUMENTS[name])
    assert links
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / name).parent / path if path else REPOSITORY / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_that_is_named_exists(name):
    # Examples begin with the path that is theirs once they are added.
    text = re.sub(r"```python\n# \S+", "", DOCUMENTS[name])
    paths = set(re.findall(r"(?<![\w./:-])(?:flows|tasks|tests|deployments|\.ci)/[\w./-]*\w", text))
    # Made by whoever starts the containers.
    assert {path for path in paths - {"deployments/secrets"} if not (REPOSITORY / path).exists()} == set()


def test_the_readme_is_short_and_names_the_other_documents():
    assert len(README.splitlines()) <= 250
    for name in DOCUMENTS:
        assert name == "README.md" or f"[{name}]({name})" in README
