"""The answers to a random sample are taken at their word, refused with their row where they have none, and weighted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadArtefact, BadInput
from tasks.dataset.targets import Target
from tasks.decision.review_answers import (
    DECISIONS,
    REVIEW_ESTIMATES,
    REVIEW_SAMPLES,
    answers_of,
    counts_of,
    estimates_of,
    read_answers,
)
from tasks.decision.review_record import RecordedReview, record_review
from tasks.decision.review_sample import DRAWS, SHEET, ReviewSample, draw_sample, write_sample
from tasks.pipeline.artefacts import Run
from tasks.pipeline.recorded_run import RecordedRun
from tasks.pipeline.schemas import SUSPECTS

# The last three are what CSV readers like to take for nothing.
CLASSES = ("ape", "bee", "0", "NA", "null", "nan")


def flags_of(count: int, flagged: int) -> pa.Table:
    """``count`` samples, the first ``flagged`` of them flagged."""
    blank = dict.fromkeys(SUSPECTS.names) | {"suspicion": 0.5, "detector": "l2", "marked_by": [], "reason": ""}
    rows = [
        blank | {"sample_id": f"s{i}", "flag": i < flagged, "rank": i + 1, "label": "ape", "source": "s", "row": i}
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows, SUSPECTS)


def recorded_in(lake: Path) -> tuple[Path, RecordedRun]:
    """(the lake, a recorded run in it) of thirty samples, ten of them flagged."""
    run = Run.start(lake, "pets")
    home = run.lake / "runs" / run.run_id
    home.mkdir()
    with run.draft("flags") as draft:
        pq.write_table(flags_of(30, 10), draft.path("flags.parquet", 30))
        flags = draft.commit()
    (run.lake / flags.folder / "flags.parquet").rename(home / "flags.parquet")
    samples = flags.model_copy(update={"stage": "samples", "files": (), "facts": {"classes": CLASSES}})
    return run.lake, RecordedRun(run_id=run.run_id, dataset="pets", recorded="", facts={}, stages=(flags, samples))


def inputs_of(ids: list[str]) -> dict[str, str]:
    """What a person sees of each; of the last nothing."""
    return {name: f"fur: {name}" for name in ids[:-1]}


@pytest.fixture
def recorded(tmp_path):
    """A run, and its lake."""
    return recorded_in(tmp_path / "lake")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(lake, run, sample, sheet): a sample of eight that is only read from."""
    lake, run = recorded_in(tmp_path_factory.mktemp("asked") / "lake")
    return lake, run, *write_sample(lake, run, 8, inputs_of)


def filled_in(table: pa.Table, answers: list[tuple[str | None, str | None]]) -> pa.Table:
    for index, name in enumerate(("decision", "new_label")):
        column = pa.array([answer[index] for answer in answers], pa.string())
        table = table.set_column(table.column_names.index(name), name, column)
    return table


# ---- the sample ----------------------------------------------------------------------------------------------------


@given(st.integers(2, 60), st.data())
def test_half_of_a_sample_is_among_the_flagged_everybody_has_a_chance_and_the_name_decides(count, data):
    flagged, size = data.draw(st.integers(0, count)), data.draw(st.integers(2, count))
    flags = flags_of(count, flagged)
    draws = draw_sample(flags, size, "a")
    assert draws.schema == DRAWS
    assert len(set(draws["sample_id"].to_pylist())) == draws.num_rows == size
    inside = sum(draws["flag"].to_pylist())
    assert inside == min(flagged, max(size // 2, size - (count - flagged)))
    assert all(0 < p <= 1 for p in draws["probability"].to_pylist())
    shuffled = flags.take(pa.array(np.random.default_rng(0).permutation(count)))
    assert draw_sample(shuffled, size, "a").equals(draws)


def test_weights_of_those_drawn_come_to_the_size_of_the_run_on_average():
    flags = flags_of(200, 20)
    totals = [(1 / draw_sample(flags, 20, str(seed))["probability"].to_numpy()).sum() for seed in range(300)]
    assert np.mean(totals) == pytest.approx(200, rel=0.03)


def test_a_sheet_shows_nothing_of_what_the_run_thinks_and_is_never_written_over(recorded):
    lake, run = recorded
    sample, sheet = write_sample(lake, run, 12, inputs_of)
    table = pa_csv.read_csv(sheet)
    assert tuple(table.column_names) == SHEET
    assert not {"flag", "rank", "suspicion", "p_wrong", "reason", "probability"} & {*SHEET}
    assert table["sample_id"].to_pylist() == sample.table["sample_id"].to_pylist()
    shown = inputs_of(sample.table["sample_id"].to_pylist())
    assert [text or "" for text in table["inputs"].to_pylist()] == [*shown.values(), ""]
    assert [row["data"]["sample_id"] for row in json.loads((sheet.parent / "label_studio.json").read_text())] == table[
        "sample_id"
    ].to_pylist()
    sheet.write_text("mine")
    assert write_sample(lake, run, 12, inputs_of)[1].read_text() == "mine"
    assert write_sample(lake, run, 99, inputs_of)[0].table.num_rows == 30


# ---- the answers ---------------------------------------------------------------------------------------------------

ANSWERS = st.one_of(
    st.tuples(st.sampled_from([*DECISIONS, None]), st.none()),
    st.tuples(st.sampled_from(["wrong", None]), st.sampled_from(CLASSES[1:])),
    st.tuples(st.sampled_from(["right", None]), st.just("ape")),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ANSWERS, min_size=8, max_size=8), st.permutations(range(8)), st.sampled_from(["csv", "parquet", "json"])
)
def test_what_is_written_into_a_sheet_is_read_back_in_each_of_its_forms(asked, answers, order, form):
    lake, run, sample, sheet = asked
    table = filled_in(pq.read_table(sheet.with_suffix(".parquet")), answers).take(pa.array(order))
    path = sheet.parent / f"answered.{form}"
    if form == "csv":
        pa_csv.write_csv(table, path)
    elif form == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text(json.dumps([as_annotated(row) for row in table.to_pylist()]))
    found, read = read_answers(path, lake, run)
    assert found.name == sample.name
    assert read.schema == REVIEW_SAMPLES
    assert read["sample_id"].to_pylist() == sample.table["sample_id"].to_pylist()
    for (decision, label), row in zip(answers, read.to_pylist(), strict=True):
        expected = decision if label is None else "right" if label == "ape" else "wrong"
        assert (row["answer"], row["new_label"]) == (expected, None if label == "ape" else label)
    counts = counts_of(read)
    assert counts["drawn"] == 8 == counts["answered"] + counts["not_known"] + counts["unanswered"]


def as_annotated(row: dict) -> dict:
    """A row as Label Studio exports it."""
    result = [{"from_name": name, "value": {"choices": [row[name]]}} for name in ("decision", "new_label") if row[name]]
    data = row | {"decision": None, "new_label": None}
    return {"data": data, "annotations": [{"result": result}] if result else []}


def test_what_label_studio_leaves_out_was_not_answered(recorded, tmp_path):
    lake, run = recorded
    _, sheet = write_sample(lake, run, 8, inputs_of)
    table = filled_in(pq.read_table(sheet.with_suffix(".parquet")), [("right", None)] * 8)
    (tmp_path / "export.json").write_text(json.dumps([as_annotated(row) for row in table.to_pylist()[:5]]))
    assert counts_of(read_answers(tmp_path / "export.json", lake, run)[1])["unanswered"] == 3


NAME = "pets-sample-4"
FOUR_DRAWS = draw_sample(flags_of(4, 2), 4, NAME).sort_by("rank")
WHOLE = ["s0,right,", "s1,wrong,bee", "s2,unknown,", "s3,,"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (WHOLE[:3], "3 rows; s3 is missing"),
        ([*WHOLE[:3], "zz,right,"], "'zz' in row 4"),
        ([*WHOLE, "s1,right,"], "s1 again in row 5"),
        (["s0,perhaps,", *WHOLE[1:]], "'perhaps' in row 1"),
        (["s0,,dog", *WHOLE[1:]], "'dog' in row 1"),
        (["s0,right,bee", *WHOLE[1:]], "right of label ape in row 1"),
        (["s0,wrong,ape", *WHOLE[1:]], "wrong of label ape in row 1"),
        (["s0,unknown,bee", *WHOLE[1:]], "unknown of label ape in row 1"),
    ],
)
def test_a_sheet_that_says_what_cannot_be_is_refused_with_the_place(tmp_path, lines, words):
    path = tmp_path / "s.csv"
    rows = [line.split(",") for line in lines]
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(("sample_id", "decision", "new_label"))})
    with pytest.raises(BadInput) as caught:
        answers_of(path, table, FOUR_DRAWS, Target(classes=CLASSES))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rank,decision,sample_id\n1,flag,s1\n", "no random sample"),
        ("decision,sample_id\nright,s1\n", "no such column"),
        ("review,sample_id\na,s1\n", "columns sample_id and decision"),
        ("review,decision,sample_id\na,right,s1\nb,right,s2\n", "'a', 'b'"),
        ("review,decision,sample_id\nother-sample-4,right,s1\n", "'other-sample-4'"),
        ("review,decision,sample_id\n", "no row"),
    ],
)
def test_a_sheet_of_something_else_is_no_random_sample(recorded, tmp_path, text, words):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_answers(tmp_path / "s.csv", *recorded)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "NAME-sample-12/..", "NAME-sample-77"])
def test_a_sample_that_was_never_drawn_is_refused(recorded, tmp_path, name):
    lake, run = recorded
    name = name.replace("NAME", run.run_id)
    (tmp_path / "s.csv").write_text(f"review,decision,sample_id\n{name},right,s1\n")
    with pytest.raises(BadInput, match="--sample 100"):
        read_answers(tmp_path / "s.csv", lake, run)


def test_probabilities_that_somebody_has_edited_are_refused(recorded):
    lake, run = recorded
    sample, sheet = write_sample(lake, run, 8, inputs_of)
    better = sample.table.set_column(4, DRAWS.field("probability"), pa.array([1.0] * 8))
    pq.write_table(better, sheet.parent / "draws.parquet")
    with pytest.raises(BadArtefact, match="as they were drawn"):
        read_answers(sheet, lake, run)


# ---- what follows --------------------------------------------------------------------------------------------------


def answered(sample: ReviewSample, wrong: set[str], unknown: set[str] = frozenset()) -> pa.Table:  # type: ignore[assignment]
    given = [
        "unknown" if name in unknown else "wrong" if name in wrong else "right"
        for name in sample.table["sample_id"].to_pylist()
    ]
    table = sample.table.select(REVIEW_SAMPLES.names[:-2]).append_column("answer", pa.array(given))
    return table.append_column("new_label", pa.nulls(len(given), pa.string())).cast(REVIEW_SAMPLES)


def sampled(count: int, flagged: int, size: int, name: str = "a") -> ReviewSample:
    return ReviewSample(name, "run", draw_sample(flags_of(count, flagged), size, name), flagged, count - flagged)


def by_measure(table: pa.Table) -> dict[str, tuple]:
    assert table.schema == REVIEW_ESTIMATES
    return {row["measure"]: (row["estimate"], row["low"], row["high"]) for row in table.to_pylist()}


def test_of_a_run_that_was_answered_whole_the_figures_are_the_truth():
    found = by_measure(estimates_of(s := sampled(10, 4, 10), answered(s, {"s0", "s1", "s2", "s9"})))
    assert found["wrong_share"] == pytest.approx((0.4, 0.4, 0.4))
    assert found["precision"] == pytest.approx((0.75, 0.75, 0.75))
    assert found["recall"] == pytest.approx((0.75, 0.75, 0.75), abs=1e-9)


def test_where_nobody_is_flagged_or_nobody_knows_no_more_is_stated_than_can_be_told():
    found = by_measure(estimates_of(s := sampled(50, 0, 20), answered(s, {"s3"})))
    assert found["precision"] == found["recall"] == (None, None, None)
    assert found["wrong_share"][0] is not None
    s = sampled(50, 10, 20)
    flagged = {row["sample_id"] for row in s.table.to_pylist() if row["flag"]}
    found = by_measure(estimates_of(s, answered(s, set(), flagged)))
    assert {found[name] for name in ("wrong_share", "precision", "recall")} == {(None, None, None)}
    everybody = set(s.table["sample_id"].to_pylist())
    with pytest.raises(BadInput, match="none that says right or wrong"):
        estimates_of(s, answered(s, set(), everybody))


def test_what_is_not_known_widens_the_intervals_and_is_left_out():
    s = sampled(200, 40, 80)
    wrong = {f"s{i}" for i in range(30)}
    flagged = [row["sample_id"] for row in s.table.to_pylist() if row["flag"]]
    known, less = (by_measure(estimates_of(s, answered(s, wrong, unknown))) for unknown in (set(), {*flagged[:20]}))
    assert less["precision"][2] - less["precision"][1] > known["precision"][2] - known["precision"][1]


def test_the_intervals_of_a_hundred_answers_hold_the_truth_from_the_flags_on():
    held = []
    for seed in range(100):
        generator = np.random.default_rng(seed)
        wrong = {f"s{i}" for i in range(600) if generator.random() < (0.8 if i < 60 else 0.05)}
        found = by_measure(estimates_of(s := sampled(600, 60, 100, str(seed)), answered(s, wrong)))
        hits = sum(int(name[1:]) < 60 for name in wrong)
        true = {"wrong_share": len(wrong) / 600, "precision": hits / 60, "recall": hits / len(wrong)}
        held.append([found[name][1] <= value <= found[name][2] for name, value in true.items()])
    assert (np.mean(held, axis=0) >= 0.9).all()


def test_a_review_is_kept_whole_once_and_the_newest_of_a_run_is_shown(recorded):
    lake, run = recorded
    sample, _ = write_sample(lake, run, 12, inputs_of)
    first = record_review(lake, run, sample, answered(sample, {"s0"}), "ann", "")
    assert record_review(lake, run, sample, answered(sample, {"s0"}), "ann", "") == first
    home = lake / "review_answers" / first.review_id
    assert {p.name for p in home.iterdir()} == {"answers.parquet", "estimates.parquet", "review.json", "manifest.json"}
    second = record_review(lake, run, sample, answered(sample, {"s0", "s1"}), "bob", "again")
    assert RecordedReview.newest(lake, run.run_id) == second
    assert RecordedReview.newest(lake, "another") is None
    assert {row["measure"] for row in second.estimates(lake)} == {"wrong_share", "precision", "recall"}
    assert len((lake / "log.jsonl").read_text().splitlines()) == 2
    (home / "review.json").write_text("{}")
    with pytest.raises(BadArtefact, match="--sheet"):
        RecordedReview.newest(lake, run.run_id)
