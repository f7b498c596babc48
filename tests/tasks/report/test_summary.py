"""The summary says what the run stated, and nothing it did not ask."""

import json

import pytest

from tasks.report.summary import Summary

PLAIN = {
    "samples": {
        "splits": {"train": 900, "validation": 0, "test": 100},
        "classes": ["cat", "dog"],
        "payload": {"shape": [4], "dtype": "float32", "columns": ["x"]},
        "rejects": {},
        "duplicates": 0,
        "planted": 0,
    },
    "scores": {"detectors": ["l2"]},
    "flags": {"flagged": 90, "of": 900, "detector": "l2", "budget": 90},
    "metrics": {
        "accuracy": {"untouched": 0.9, "cleaned": 0.91, "random": 0.9},
        "calibration": {},
        "gains": {"cleaned": {}},
        "changes": [],
        "suspects": 0,
        "trusted": None,
        "verdict": {"arm": "cleaned", "word": "no evidence", "sentence": "so", "promote": False, "because": ["it is"]},
        "seeds": 1,
        "tested_on": 100,
        "detection": {},
    },
}


def figure(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def shown(lake, flags=None, about=None, section="Flagged", **stages):
    """The lines of one section of a recorded run, by default those under Flagged."""
    facts = json.loads(json.dumps(PLAIN)) | stages
    facts["flags"] |= flags or {}
    facts["scores"] |= {"about": about} if about else {}
    (lake / "runs" / "r").mkdir(parents=True)
    told = {"run_id": "r", "dataset": "pets", "recorded": "2026-01-01T00:00:00", "facts": facts, "stages": []}
    (lake / "runs" / "r" / "run.json").write_text(json.dumps(told))
    summary = Summary.read(lake, "r")
    assert "\n  ".join(dict(summary.sections)[section]) in summary.text()
    return dict(summary.sections)[section]


def test_what_a_budget_did_not_state_is_not_shown(tmp_path):
    assert shown(tmp_path) == ["90 of 900 training samples, decided by l2 (budget 90)"]


def test_columns_that_are_not_used_stand_beneath_the_inputs_each_with_its_reason(tmp_path):
    unused = [
        {"column": "", "reason": "a row number by its name"},
        {"column": "sex", "reason": "text"},
        {"column": "age", "reason": "text"},
    ]
    facts = PLAIN | {"samples": PLAIN["samples"] | {"unused": unused, "rows_read": 1000}}
    lines = dict(Summary(facts, "r", "pets", tmp_path).sections)["Ingested"]
    assert lines[1] == "not used: '' (a row number by its name); sex, age (text)"


def test_an_input_without_a_name_is_shown_between_quotes(tmp_path):
    payload = PLAIN["samples"]["payload"] | {"columns": ["", "a"]}
    facts = PLAIN | {"samples": PLAIN["samples"] | {"payload": payload}}
    lines = dict(Summary(facts, "r", "pets", tmp_path).sections)["Ingested"]
    assert lines[0].endswith("inputs 4 float32 ('', a)")


def test_what_the_budget_states_stands_there_with_its_intervals(tmp_path):
    found = {
        "count": 90,
        "wrong": figure(0.2),
        "precision": figure(0.8),
        "recall": figure(0.5),
        "note": "Few canaries.",
    }
    assert shown(tmp_path, {"found": found})[1:] == [
        "labels thought wrong: 20.0% (95 % [10.0%, 30.0%])",
        "expected of the flagged: precision 80.0% (95 % [70.0%, 90.0%]), recall 50.0% (95 % [40.0%, 60.0%])",
        "Few canaries.",
    ]


def test_a_budget_that_states_nothing_adds_no_line(tmp_path):
    found = dict.fromkeys(("wrong", "precision", "recall", "note")) | {"count": 90}
    assert len(shown(tmp_path, {"found": found, "capped": 0, "protected": 0, "most_flagged": []})) == 1


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"protected": 3, "capped": 1200}, "kept by guards: 3 as rare but valid, 1,200 by a cap"),
        ({"protected": 0, "capped": 2}, "kept by guards: 2 by a cap"),
    ],
)
def test_whom_the_guards_kept_is_counted(tmp_path, kept, words):
    assert shown(tmp_path, kept)[1:] == [words]


@pytest.mark.parametrize(("rounds", "words"), [(1, "one round"), (2, "2 rounds")])
def test_a_budget_that_was_searched_for_is_named_before_the_figures_it_led_to(tmp_path, rounds, words):
    facts = PLAIN | {"search": {"survivors": [1], "names": ["share_0.2"], "rung": rounds}}
    lines = dict(Summary(facts, "r", "pets", tmp_path).sections)["Test accuracy, last epoch"]
    assert lines[0] == f"budget share_0.2, chosen on the validation split in {words}"
    assert lines[1].startswith("before:")


def test_the_classes_flagged_most_and_what_fusion_weighs_are_a_line_each(tmp_path):
    most = [{"name": "cat", "samples": 400, "flagged": 80, "lift": 2.0}]
    fusion = {
        "weights": {"margin": 0.5, "aum": 0.25},
        "dropped": {"neighbours": "some samples lack it"},
        "concentration": 0.125,
    }
    assert shown(tmp_path, {"most_flagged": most}, {"fusion": fusion})[1:] == [
        "classes flagged most: cat (80 of 400, lift 2.00)",
        "fusion: margin 0.50, aum 0.25; concentration on few pairs of classes 0.12; left out: neighbours "
        "(some samples lack it)",
    ]


def test_ranges_of_a_number_are_not_called_classes(tmp_path):
    most = [{"name": "0 … 9", "samples": 400, "flagged": 80, "lift": 2.0}]
    flags = {"most_flagged": most, "strata": "ranges"}
    assert "ranges flagged most: 0 … 9 (80 of 400, lift 2.00)" in shown(tmp_path / "a", flags)
    assert "in 2 ranges, inputs" in shown(tmp_path / "b", flags, section="Ingested")[0]


def test_names_from_the_data_are_no_markup_in_the_prefect_ui(tmp_path):
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    facts = json.loads(json.dumps(PLAIN))
    facts["samples"]["untested_classes"] = ["<img src=x onerror=alert(1)>", "[a](https://elsewhere.example)"]
    told = {"run_id": "r", "dataset": "pets", "recorded": "2026-01-01T00:00:00", "facts": facts, "stages": []}
    (folder / "run.json").write_text(json.dumps(told))
    summary = Summary.read(tmp_path, "r")
    assert "<img src=x" in summary.text()
    text = summary.markdown()
    assert "<img" not in text
    assert "](https" not in text.replace("\\]", "")


def test_where_neighbours_may_be_missed_the_recall_is_said(tmp_path):
    votes, examination = {"neighbours": 100, "among": 40_000}, {"suspects": {"test": 0}}
    exact = shown(tmp_path / "exact", section="Ingested", votes=votes, examination=examination)
    assert not any("nearest" in line for line in exact)
    lines = shown(
        tmp_path / "index",
        section="Ingested",
        votes=votes | {"recall": 0.99984},
        examination=examination | {"recall": {"test": 0.9942}},
    )
    assert (
        "the 100 nearest of 40,000 training samples are looked for by an index, which finds 99.98% (train), 99.42% "
        "(test) of them, by a sample"
    ) in lines


def test_a_run_records_how_its_neighbours_were_found(cleaned_small):
    facts = json.loads((cleaned_small.run_folder / "run.json").read_text())["facts"]
    assert facts["votes"]["neighbours"] < facts["votes"]["among"]
