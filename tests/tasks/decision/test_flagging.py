"""The decision in SQL is the plain loop: of the first by rank, whom no guard keeps, each with its reason.

The audit counts just that.
"""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadConfig
from tasks.decision.budgets import BudgetEstimate
from tasks.decision.flagging import (
    Flagging,
    audit,
    count_flags,
    decide,
    flagged_of,
    reviewed_estimate,
    write_flags,
)
from tasks.decision.guards import ADVICE
from tasks.pipeline.schemas import AUDIT, FLAGS, GRADIENTS, SUSPECTS, scores


def tables(suspicions, labels, predicted=None, ids=None, order=None, extra=0, groups=None, **advice):
    """scores, samples, gradients and advice of n samples; ``suspicions`` by detector."""
    n = len(labels)
    ids = ids or [f"{i:04d}" for i in range(n)]
    predicted = predicted or labels
    table = pa.table(
        [pa.array(ids), *(pa.array(np.asarray(s, float)) for s in suspicions.values())], schema=scores(list(suspicions))
    )
    groups = list(groups or [None] * n)
    samples = pa.table(
        {
            "sample_id": ids + [f"t{i}" for i in range(extra)],
            "label": labels + labels[:1] * extra,
            "group": pa.array(groups + groups[:1] * extra, pa.string()),
        }
    )
    p = np.linspace(0.1, 0.9, n).astype(np.float32)
    columns = {"sample_id": ids, "fold": np.zeros(n, np.int16), "predicted": predicted}
    gradients = pa.table(
        [pa.array(columns[name]) if name in columns else pa.array(p) for name in GRADIENTS.names], schema=GRADIENTS
    )
    usual = {"sample_id": ids, "rare": [False] * n, "support": [4] * n, "recognised": [True] * n} | advice
    columns = [pa.array(usual.get(field.name, [None] * n), field.type) for field in ADVICE]
    advised = pa.table(columns, schema=ADVICE)
    if order is not None:
        table = table.take(pa.array(order))
        advised = advised.take(pa.array(np.roll(order, 5)))
        gradients = gradients.take(pa.array(order[::-1]))
        samples = samples.take(pa.array(np.roll(np.arange(samples.num_rows), 3)))
    return table, samples, gradients, advised


def decided(suspicions, labels, share=0.2, options=None, **more):
    return decide(*tables(suspicions, labels, **more), round(share * len(labels)), options or Flagging())


def by_loop(suspicion, labels, groups, rare, ids, count, options):
    """sample_id → (rank, flag, guard)"""
    order = sorted(range(len(ids)), key=lambda i: (-suspicion[i], ids[i]))
    sizes = {label: labels.count(label) for label in labels}
    room = {label: min(math.floor(options.class_cap * size), size - 1) for label, size in sizes.items()}
    places = {group: math.floor(options.group_cap * groups.count(group)) for group in groups if group is not None}
    found = {}
    for rank, i in enumerate(order, 1):
        kept = None
        if rare[i] and options.rare == "keep":
            kept = "rare"
        elif groups[i] is not None and not places[groups[i]]:
            kept = "group_cap"
        else:
            if groups[i] is not None:
                places[groups[i]] -= 1
            if not room[labels[i]]:
                kept = "class_cap"
            else:
                room[labels[i]] -= 1
        # Below the budget no guard has kept anyone, and nobody moves up for those whom one has.
        within = rank <= count
        flag = kept is None and within
        marked = "rare" if rare[i] and options.rare == "list" and flag else None
        found[ids[i]] = (rank, flag, marked or (kept if within else None))
    return found


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from("abc"), st.sampled_from(["g", "h", None]), st.booleans()),
        min_size=2,
        max_size=40,
    ),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]),
    st.builds(
        Flagging,
        class_cap=st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 1.0]),
        group_cap=st.sampled_from([0.2, 0.5, 1.0]),
        rare=st.sampled_from(["keep", "list", "off"]),
    ),
)
def test_the_sql_is_the_plain_loop(rows, share, options):
    suspicion, labels = [float(row[0]) for row in rows], [row[1] for row in rows]
    groups, rare = [row[2] for row in rows], [row[3] for row in rows]
    ids = [f"{i * 7919 % 1009:04d}" for i in range(len(rows))]
    table = decided({"l2": suspicion}, labels, share, options, ids=ids, groups=groups, rare=rare)
    found = {row["sample_id"]: (row["rank"], row["flag"], row["guard"]) for row in table.to_pylist()}
    assert found == by_loop(suspicion, labels, groups, rare, ids, round(share * len(rows)), options)
    flagged = {name for name, (_, flag, _) in found.items() if flag}
    first = {name for name, (rank, _, _) in found.items() if rank <= round(share * len(rows))}
    assert flagged <= first
    # Whoever is among the first and not flagged is kept by a guard that says so.
    assert all(found[name][2] for name in first - flagged)
    for label in set(labels):
        members = {name for name, y in zip(ids, labels, strict=True) if y == label}
        assert len(members & flagged) <= options.class_cap * len(members)
        assert members - flagged
    for group in set(groups) - {None}:
        members = {name for name, g in zip(ids, groups, strict=True) if g == group}
        assert len(members & flagged) <= options.group_cap * len(members)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.25, 0.333])
@pytest.mark.parametrize("n", [10, 50, 99])
def test_as_many_are_flagged_as_the_budget_says_where_no_cap_binds(share, n):
    labels = [str(i % 3) for i in range(n)]
    table = decided({"l2": np.arange(n)}, labels, share, Flagging(class_cap=0.75))
    assert sum(table["flag"].to_pylist()) == round(share * n)


def test_flags_have_the_schema_and_stand_by_rank():
    table = decided({"l2": [3.0, 9.0, 1.0, 5.0]}, ["a", "b", "a", "b"])
    assert table.schema.equals(FLAGS)
    assert table["rank"].to_pylist() == [1, 2, 3, 4]
    assert table["sample_id"].to_pylist() == ["0001", "0003", "0000", "0002"]
    assert table["suspicion"].to_pylist() == [9.0, 5.0, 3.0, 1.0]


def test_ties_are_broken_by_sample_id():
    table = decided({"l2": [1.0] * 6}, list("ababab"), 0.34, ids=["f", "e", "d", "c", "b", "a"])
    assert table["sample_id"].to_pylist() == list("abcdef")
    assert table["flag"].to_pylist() == [True, True, False, False, False, False]


def test_the_order_of_rows_changes_nothing_nor_do_samples_that_were_not_scored():
    generator = np.random.default_rng(0)
    suspicions = {"l2": generator.integers(0, 5, 60), "l1": generator.random(60)}
    labels = [str(i % 4) for i in range(60)]
    predicted = [str(i % 5) for i in range(60)]
    advice = {
        "groups": [f"g{i % 7}" for i in range(60)],
        "rare": [i % 11 == 0 for i in range(60)],
        "p_wrong": generator.random(60),
        "suggested_label": predicted,
        "p_suggested": generator.random(60),
    }
    options = Flagging(group_cap=0.25)
    plain = decided(suspicions, labels, 0.3, options, predicted=predicted, **advice)
    order = generator.permutation(60)
    other = decided(suspicions, labels, 0.3, options, predicted=predicted, order=order, extra=9, **advice)
    assert plain.equals(other)
    samples = [tables(suspicions, labels, order=o, **advice)[1] for o in (None, order)]
    assert audit(plain, samples[0]).equals(audit(plain.take(pa.array(order)), samples[1]))


@pytest.mark.parametrize("cap", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_no_class_is_emptied_however_suspect(cap, n):
    labels = ["rare"] * n + ["common"] * 20
    suspicion = [100.0] * n + [1.0] * 20
    table = decided({"l2": suspicion}, labels, 0.5, Flagging(class_cap=cap))
    rare = [row["flag"] for row in table.to_pylist() if int(row["sample_id"]) < n]
    assert sum(rare) < n


def test_the_place_of_one_whom_a_cap_keeps_stays_empty():
    labels = ["a"] * 4 + ["b"] * 6
    table = decided({"l2": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]}, labels, 0.4, Flagging(class_cap=0.5))
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert [name for name, row in rows.items() if row["flag"]] == ["0000", "0001"]
    assert rows["0002"]["reason"] == "kept: 0.5 of class a is the most that may be flagged"
    assert rows["0004"]["reason"] == "kept: below the budget"


def test_right_labels_are_not_flagged_for_the_wrong_ones_that_a_cap_keeps():
    """One class is mislabelled as a whole, and the cap keeps half of it: the other classes lose nobody for that."""
    labels = ["a"] * 200 + [f"b{i % 5}" for i in range(800)]
    suspicion = np.r_[np.full(200, 10.0), np.linspace(1, 0, 800)]
    table = decided({"l2": suspicion}, labels, 0.2, Flagging(class_cap=0.5))
    flagged = [int(row["sample_id"]) for row in table.to_pylist() if row["flag"]]
    assert flagged == list(range(100))
    assert table["guard"].to_pylist() == [None] * 100 + ["class_cap"] * 100 + [None] * 800


def test_reasons_name_both_labels_the_probabilities_and_the_rank():
    labels, predicted = ["cat"] * 5 + ["dog"] * 5, ["dog"] * 5 + ["dog"] * 5
    table = decided({"l2": np.arange(10)[::-1], "l1": np.arange(10)[::-1]}, labels, 0.3, predicted=predicted)
    first = table.to_pylist()[0]
    p = float(np.float32(0.1))
    assert first["reason"] == (
        f"given cat (p = {p:.3f}), held-out model says dog (p = {p:.3f}); rank 1 by l2, also marked by l1"
    )
    assert all(table["reason"].to_pylist())


def test_a_flagged_sample_the_model_agrees_with_says_so():
    first = decided({"l2": [2.0, 1.0, 0.0, 0.0]}, ["a", "a", "b", "b"], 0.25).to_pylist()[0]
    assert first["flag"]
    assert first["reason"] == (
        "given a (p = 0.100) is what the held-out model says, but other evidence is against it; rank 1 by l2"
    )


@pytest.mark.parametrize(
    ("wrong", "label", "right", "words"),
    [
        (0.9, "dog", 0.75, "; wrong with p = 0.900, dog with p = 0.750; rank 1"),
        (0.9, None, None, "; wrong with p = 0.900; rank 1"),
        (None, "dog", None, "; dog suggested; rank 1"),
        (None, None, None, "(p = 0.100); rank 1"),
    ],
)
def test_a_reason_says_how_probably_the_label_is_wrong_and_which_is_right(wrong, label, right, words):
    advice = {"p_wrong": [wrong] * 4, "suggested_label": [label] * 4, "p_suggested": [right] * 4}
    table = decided({"l2": [4.0, 3.0, 2.0, 1.0]}, ["cat"] * 4, 0.25, predicted=["dog"] * 4, **advice)
    assert words in table["reason"][0].as_py()
    # Flagged or not, every sample has them.
    assert table["p_wrong"].to_pylist() == [wrong] * 4
    assert table["suggested_label"].to_pylist() == [label] * 4
    assert table["p_suggested"].to_pylist() == [right] * 4


def test_a_run_without_canaries_has_no_probability_of_a_wrong_label():
    table = decided({"l2": [4.0, 3.0, 2.0, 1.0]}, list("abab"))
    assert table["p_wrong"].null_count == table["p_suggested"].null_count == 4
    assert audit(table, tables({"l2": [0.0] * 4}, list("abab"))[1])["expected_wrong"].to_pylist() == [None, None]


@pytest.mark.parametrize(("rare", "flagged", "expected"), [("keep", [0, 4], 1.25), ("off", [0, 2, 4], None)])
def test_what_is_not_known_of_one_class_hides_nothing_of_the_others_unless_it_is_flagged(rare, flagged, expected):
    advice = {"p_wrong": [0.75, 0.0, None, None, 0.5, 0.0], "recognised": [True, True, False, False, True, True]}
    scores = {"l2": [9.0, 1.0, 8.0, 2.0, 7.0, 3.0]}
    table = decided(scores, list("aabbcc"), 0.5, Flagging(rare=rare), **advice)
    rows = sorted(table.to_pylist(), key=lambda row: row["sample_id"])
    assert [i for i, row in enumerate(rows) if row["flag"]] == flagged
    audited = audit(table, tables(scores, list("aabbcc"))[1])
    assert audited["expected_wrong"].to_pylist() == [0.75, None, 0.5]
    assert count_flags(table, audited)["expected_wrong"] == expected


RARE = "far from class a, but 4 of its nearest bear that label and are recognised: likely rare and valid"


@pytest.mark.parametrize(
    ("rare", "flagged", "guard", "reason"),
    [
        ("keep", ["0001"], "rare", f"kept: {RARE}"),
        ("list", ["0000", "0001"], "rare", f"rank 1 by l2; {RARE}"),
        ("off", ["0000", "0001"], None, "rank 1 by l2"),
    ],
)
def test_a_rare_but_valid_sample_is_kept_or_listed_or_neither(rare, flagged, guard, reason):
    labels = ["a"] * 4 + ["b"] * 6
    is_rare = [True] + [False] * 8 + [True]
    table = decided({"l2": np.arange(10)[::-1]}, labels, 0.2, Flagging(rare=rare), rare=is_rare)
    rows = table.to_pylist()
    assert [row["sample_id"] for row in rows if row["flag"]] == flagged
    assert rows[0]["guard"] == guard
    assert rows[0]["reason"].endswith(reason)
    # The last is rare too, but nothing had to keep it.
    assert (rows[-1]["guard"], rows[-1]["reason"]) == (None, "kept: below the budget")


def test_no_more_of_a_group_is_flagged_than_its_cap_and_the_ungrouped_have_none():
    labels, groups = ["a", "b"] * 5, ["g"] * 4 + [None] * 6
    table = decided({"l2": np.arange(10)[::-1]}, labels, 0.5, Flagging(group_cap=0.5, class_cap=1.0), groups=groups)
    assert [row["sample_id"] for row in table.to_pylist() if row["flag"]] == ["0000", "0001", "0004"]
    assert table["guard"].to_pylist() == [None, None, "group_cap", "group_cap"] + [None] * 6
    assert table["reason"][2].as_py() == "kept: 0.5 of group g is the most that may be flagged"


def test_without_a_cap_a_group_may_go_as_a_whole():
    labels, groups = ["a", "b"] * 5, ["g"] * 4 + ["h"] * 6
    table = decided({"l2": np.arange(10)[::-1]}, labels, 0.4, groups=groups)
    assert table["flag"].to_pylist() == [True] * 4 + [False] * 6


def test_a_sample_kept_by_one_guard_takes_no_room_under_the_next():
    labels, groups = ["a"] * 4 + ["b"] * 4, ["g", "g", None, None] * 2
    rare = [True] + [False] * 7
    options = Flagging(group_cap=0.25, class_cap=0.5)
    table = decided({"l2": np.arange(8)[::-1]}, labels, 0.5, options, groups=groups, rare=rare)
    assert table["guard"].to_pylist() == ["rare", None, None, "class_cap", None, None, None, None]
    assert table["flag"].to_pylist() == [False, True, True, False, False, False, False, False]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["g", "a", None]), st.booleans(), st.sampled_from(["x", "y", None])
        ),
        min_size=3,
        max_size=40,
    ),
    st.sampled_from([0.0, 0.3, 0.6]),
)
def test_the_audit_is_what_the_flags_add_up_to(rows, share):
    labels, groups, rare, suggested = (list(column) for column in zip(*rows, strict=True))
    n = len(rows)
    wrong = np.linspace(0, 1, n)
    more = {"groups": groups, "rare": rare, "suggested_label": suggested, "p_wrong": wrong, "extra": 5}
    parts = tables({"l2": np.arange(n) % 7}, labels, **more)
    flags = decide(*parts, round(share * n), Flagging(group_cap=0.5))
    found = audit(flags, parts[1])
    assert found.schema.equals(AUDIT)
    table = found.to_pylist()
    assert [(row["by"], row["name"]) for row in table] == sorted(
        {("class", y) for y in labels} | {("group", g) for g in groups if g is not None}
    )
    decisions = {int(row["sample_id"]): row for row in flags.to_pylist()}
    overall = sum(row["flag"] for row in decisions.values()) / n
    for row in table:
        values = labels if row["by"] == "class" else groups
        members = [i for i in range(n) if values[i] == row["name"]]
        flagged = [i for i in members if decisions[i]["flag"]]
        assert (row["samples"], row["flagged"]) == (len(members), len(flagged))
        assert row["share_flagged"] == pytest.approx(len(flagged) / len(members))
        assert row["share_overall"] == pytest.approx(overall)
        assert row["lift"] == (pytest.approx(len(flagged) / len(members) / overall) if overall else None)
        guards = [decisions[i]["guard"] for i in members]
        assert row["capped"] == guards.count("class_cap") + guards.count("group_cap")
        assert row["protected"] == guards.count("rare")
        assert row["expected_wrong"] == pytest.approx(wrong[members].sum())
        named = [suggested[i] for i in flagged if suggested[i] is not None]
        assert row["most_suggested"] == min(set(named), key=lambda y: (-named.count(y), y), default=None)


@pytest.mark.parametrize(
    "odd", ["{}", "{0}", "{:d}", "}{", "it's", 'say "so"', "100 %s", "%", "$detector", "", "é ☃", "a\nb"]
)
def test_labels_of_any_characters_survive_in_the_reason(odd):
    labels, predicted = [odd] * 4 + ["plain"] * 4, ["plain"] * 4 + [odd] * 4
    more = {"predicted": predicted, "suggested_label": predicted, "groups": [odd] * 8}
    table = decided({"l2": np.arange(8)[::-1]}, labels, 0.75, **more)
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert rows["0000"]["reason"].startswith(f"given {odd} (p = 0.100), held-out model says plain (p = ")
    assert rows["0002"]["reason"] == f"kept: 0.5 of class {odd} is the most that may be flagged"
    assert f"held-out model says {odd} (p = " in rows["0004"]["reason"]
    assert rows["0004"]["suggested_label"] == odd


@pytest.mark.parametrize(("rare", "flagged"), [("keep", [2]), ("list", [2]), ("off", [0, 2])])
def test_a_sample_of_a_class_that_no_observer_recognises_is_kept_with_that_reason(rare, flagged):
    recognised = [False, False, True, True, True, True]
    table = decided(
        {"l2": [9, 1, 8, 2, 3, 4]}, list("uuaaaa"), 1 / 3, Flagging(rare=rare, class_cap=1), recognised=recognised
    )
    rows = sorted(table.to_pylist(), key=lambda row: row["sample_id"])
    assert [i for i, row in enumerate(rows) if row["flag"]] == flagged
    assert rows[1]["guard"] is None  # below the budget
    if rare != "off":
        assert rows[0]["guard"] == "unrecognised"
        assert rows[0]["reason"].startswith("kept: neither the network nor the neighbours recognise class u")
        samples = pa.table({"sample_id": table["sample_id"], "label": ["a"] * 6, "group": pa.nulls(6, pa.string())})
        assert count_flags(table, audit(table, samples))["unrecognised"] == 1


def test_every_detector_marks_its_own_top_and_the_named_one_decides():
    suspicions = {"l2": [4.0, 3.0, 2.0, 1.0, 0.0], "pyod_ecod": [0.0, 9.0, 8.0, 1.0, 2.0]}
    labels = list("ababa")
    table = decided(suspicions, labels, 0.4, Flagging(detector="pyod_ecod"))
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    assert {row["detector"] for row in rows.values()} == {"pyod_ecod"}
    assert {name: row["marked_by"] for name, row in rows.items()} == {
        "0000": ["l2"],
        "0001": ["l2", "pyod_ecod"],
        "0002": ["pyod_ecod"],
        "0003": [],
        "0004": [],
    }
    assert [name for name, row in rows.items() if row["flag"]] == ["0001", "0002"]
    assert {r["detector"] for r in decided(suspicions, labels, 0.4).to_pylist()} == {"l2"}


def test_a_detector_that_did_not_score_cannot_decide():
    with pytest.raises(BadConfig, match=r"option flagging\.detector: expected one of l2, l1, got iforest"):
        decided({"l2": [1.0, 2.0], "l1": [1.0, 2.0]}, ["a", "b"], options=Flagging(detector="iforest"))


def test_whether_each_sample_is_flagged_is_told_in_the_order_asked_for():
    table = decided({"l2": [1.0, 4.0, 3.0, 2.0]}, list("abab"), 0.5)
    assert flagged_of(table, pa.array(["0003", "0002", "0001", "0000"])).tolist() == [False, True, True, False]


def test_after_a_review_nothing_is_stated_of_flags_that_a_person_has_changed():
    estimate = {"value": 0.9, "low": 0.8, "high": 1.0}
    found = BudgetEstimate.model_validate({"count": 2, "wrong": estimate, "precision": estimate, "recall": estimate})
    said = found.model_dump(mode="json")
    before = decided({"l2": [4.0, 3.0, 2.0, 1.0]}, list("abab"), 0.5)
    assert reviewed_estimate(said, before, before) == said
    after = before.set_column(1, before.schema.field("flag"), pa.array([True, False, False, False]))
    stated = reviewed_estimate(said, before, after)
    assert (stated["wrong"], stated["precision"], stated["recall"]) == (estimate, None, None)
    assert stated["note"] == "no precision is stated of the flagged: a person decided otherwise about 1"


@pytest.mark.parametrize("group_rows", [1 << 16, 64])
def test_what_is_written_piece_by_piece_is_what_is_decided_beside_whose_it_is(tmp_path, monkeypatch, group_rows):
    for module in ("tasks.pipeline.row_groups", "tasks.decision.flagging"):
        monkeypatch.setattr(f"{module}.GROUP_ROWS", group_rows)
    n = 500
    suspicion = np.random.default_rng(0).normal(size=n)
    scored, samples, gradients, advice = tables({"l2": suspicion}, [f"c{i % 3}" for i in range(n)], extra=5)
    names = samples["sample_id"].to_pylist()
    about = {"source": [f"{name}.csv" for name in names], "row": range(len(names)), "source_id": names}
    for name, values in about.items():
        samples = samples.append_column(name, pa.array(values))
    for name, table in {"scores": scored, "gradients": gradients}.items():
        pq.write_table(table, tmp_path / name)
    files = {name: [tmp_path / name] for name in ("scores", "gradients")}
    given = files["scores"], samples, files["gradients"], advice, 50, Flagging(), "held-out"
    write_flags(tmp_path / "flags", *given, suggests=True, room=(tmp_path, 1 << 27))
    written = pq.read_table(tmp_path / "flags")
    assert pq.ParquetFile(tmp_path / "flags").num_row_groups == -(-n // group_rows)
    assert written.schema == SUSPECTS
    assert written.select(FLAGS.names).equals(decide(scored, samples, gradients, advice, 50, Flagging()))
    ids = written["sample_id"].to_pylist()
    assert written["source"].to_pylist() == [f"{name}.csv" for name in ids]
    assert written["source_id"].to_pylist() == ids
    assert written["row"].to_pylist() == [names.index(name) for name in ids]
    assert written["label"].to_pylist() == [f"c{int(name) % 3}" for name in ids]
