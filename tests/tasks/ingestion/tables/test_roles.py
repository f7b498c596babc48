"""Every column of a table has a role and a reason; what a network can learn from is an input, however it is written."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.tables.profile import Profile
from tasks.ingestion.tables.roles import CONSTANT
from tasks.ingestion.tables.told_columns import COLUMNS
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Artefact, Run

N = 120
RANDOM = np.random.default_rng(0)
LABELS = ["plum", "pear", "fig"] * (N // 3)
WEIGHT = RANDOM.normal(size=N).round(3)


class Table:
    """One ingested table."""

    def __init__(self, home: Path, columns: dict[str, Any], form: str = "csv", **options: Any) -> None:
        table = pa.table({"label": LABELS} | columns)
        path = home / f"a.{form}"
        pa_csv.write_csv(table, path) if form == "csv" else pq.write_table(table, path)
        self.run = Run.start(home / "lake", "roles")
        reader = Csv if form == "csv" else Parquet
        self.artefact: Artefact = ingest.fn(self.run, reader(path=path, **options), Ingestion(max_rejects=1))
        self.payload = payload_of(self.artefact)
        columns_file = next(p for p in self.run.paths(self.artefact) if p.name == "columns.parquet")
        told = pq.read_table(columns_file)
        assert told.schema.equals(COLUMNS)
        self.columns = {row["name"]: row for row in told.to_pylist()}

    def role(self, name: str) -> tuple[str, str]:
        """A column's role and kind."""
        return self.columns[name]["role"], self.columns[name]["kind"]

    def samples(self) -> pa.Table:
        """All samples, in the order of the source."""
        paths = [path for path in self.run.paths(self.artefact) if path.parent.name == "samples"]
        return pa.concat_tables([pq.read_table(path) for path in paths]).sort_by("row")

    def x(self) -> np.ndarray:
        """Inputs of the training split, in the order of the source."""
        return load(self.run, self.artefact, "train").x.numpy()


FORMS = pytest.mark.parametrize("form", ["csv", "parquet"])


# ---- what is an input -------------------------------------------------------------------------------------------


@FORMS
def test_a_titanic_is_learned_from_its_words_and_never_from_its_row_numbers(tmp_path, form):
    columns = {
        "": range(1, N + 1),
        "class": ["1st class", "2nd class", "crew"] * (N // 3),
        "age": ["adults", "child"] * (N // 2),
        "sex": ["man"] * 90 + ["women"] * 30,
    }
    table = Table(tmp_path, columns, form, test_share=0)
    assert table.payload.columns == ("class", "age", "sex")
    assert table.role("") == ("index", "number")
    assert [table.role(name) for name in ("class", "age", "sex")] == [("input", "category")] * 3
    expected = [
        [columns["class"][i] == c for c in ("1st class", "2nd class", "crew")]
        + [columns["age"][i] == a for a in ("adults", "child")]
        + [columns["sex"][i] == s for s in ("man", "women")]
        for i in range(N)
    ]
    assert np.array_equal(table.x(), np.array(expected, np.float32))
    assert table.artefact.facts["unused"] == [{"column": "", "reason": "a row number by its name"}]
    assert table.artefact.facts["inputs"][0] == {"column": "class", "kind": "category, 3 values"}


@FORMS
def test_words_beside_numbers_are_inputs_named_or_not(tmp_path, form):
    colour = pa.array(["blue", "green", "red"] * (N // 3))
    columns = {"weight": WEIGHT, "colour": colour if form == "csv" else colour.dictionary_encode()}
    (tmp_path / "named").mkdir()
    every = Table(tmp_path, columns, form, test_share=0)
    named = Table(tmp_path / "named", columns, form, test_share=0, features=["colour", "weight"])
    assert every.payload.columns == ("weight", "colour")
    assert named.payload.columns == ("colour", "weight")
    assert np.array_equal(named.x(), np.roll(every.x(), 3, axis=1))
    assert every.samples()["colour"].to_pylist() == colour.to_pylist()


@FORMS
def test_a_missing_number_is_the_median_and_an_indicator_and_stays_missing_in_the_samples(tmp_path, form):
    gaps = set(range(0, N, 5))
    sugar = [None if i in gaps else float(i * i) for i in range(N)]
    cells = sugar if form == "parquet" else ["NA" if v is None else str(v) for v in sugar]
    table = Table(tmp_path, {"weight": WEIGHT, "sugar": cells}, form, test_share=0)
    assert table.artefact.facts["rejects"] == {}
    assert table.columns["sugar"]["missing"] == len(gaps)
    median = float(np.median([v for v in sugar if v is not None]))
    x = table.x()
    assert x[:, 1].tolist() == [median if v is None else v for v in sugar]
    assert x[:, 2].tolist() == [float(i in gaps) for i in range(N)]
    assert table.samples()["sugar"].to_pylist() == sugar


@pytest.mark.parametrize("marker", ["", " ", "NA", "n/a", "#N/A", "NULL", "none", "nan", "?", "-"])
def test_every_usual_marker_is_a_missing_value_unless_it_is_switched_off(tmp_path, marker):
    cells = [marker if i % 10 == 0 else str(WEIGHT[i]) for i in range(N)]
    (tmp_path / "off").mkdir()
    table = Table(tmp_path, {"a": cells, "b": WEIGHT})
    assert (table.columns["a"]["kind"], table.columns["a"]["missing"]) == ("number", N // 10)
    off = Table(tmp_path / "off", {"a": cells, "b": WEIGHT}, missing=[])
    rejects = {"": None, " ": None, "nan": "NaN or infinite"}.get(marker, "not a number")
    assert off.artefact.facts["rejects"] == ({rejects: N // 10} if rejects else {})


def test_a_marker_in_words_is_a_column_of_its_own_and_a_metal_is_none(tmp_path):
    metals = ["Na", "Fe", "?"] * (N // 3)
    table = Table(tmp_path, {"metal": metals}, test_share=0)
    assert (table.columns["metal"]["distinct_values"], table.columns["metal"]["missing"]) == (2, N // 3)
    assert table.x().tolist() == [[float(m == "Fe"), float(m == "Na"), float(m == "?")] for m in metals]


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("yes", "NO"), ("t", "f"), ("Y", "n"), ("ja", "nein")])
def test_yes_and_no_are_one_and_zero_in_any_spelling(tmp_path, yes, no):
    truth = RANDOM.random(N) < 0.4
    table = Table(tmp_path, {"ripe": [yes if t else no for t in truth], "weight": WEIGHT}, test_share=0)
    assert table.role("ripe") == ("input", "boolean")
    assert np.array_equal(table.x()[:, 0], truth)
    assert set(table.samples()["ripe"].to_pylist()) == {yes, no}


def test_a_table_of_booleans_alone_is_read_alike_as_text_and_as_booleans(tmp_path):
    columns = {"ripe": RANDOM.random(N) < 0.4, "soft": RANDOM.random(N) < 0.5}
    x = []
    for form in ("csv", "parquet"):
        (tmp_path / form).mkdir()
        x.append(Table(tmp_path / form, columns, form, test_share=0).x())
    assert np.array_equal(*x)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (lambda n: f"{n:,}", float),
        (lambda n: f"${n:,}", float),
        (lambda n: f"{n % 100} %", lambda n: n % 100),
        (lambda n: f"{n:,.2f} €".translate(str.maketrans(",.", ".,")), float),
        (lambda n: f"{n:,}".replace(",", " "), float),
        (lambda n: f"({n})" if n % 2 else f"{n}", lambda n: -n if n % 2 else n),
    ],
    ids=["thousands", "dollars", "percent", "decimal comma", "spaces", "parentheses"],
)
def test_numbers_as_people_write_them_are_numbers_and_stay_as_they_came(tmp_path, written, number):
    numbers = [int(n) for n in RANDOM.integers(1000, 200_000, N)]
    words = [written(n) for n in numbers]
    table = Table(tmp_path, {"price": words, "weight": WEIGHT}, test_share=0)
    assert table.role("price") == ("input", "written number")
    assert table.x()[:, 0].tolist() == pytest.approx([number(n) for n in numbers])
    assert table.samples()["price"].to_pylist() == words


MILLIONS = "ones, k (thousands) and M (millions)"


@pytest.mark.parametrize(
    ("written", "number", "unit"),
    [
        (lambda n: f"{n:,} kg", float, "kg"),
        (lambda n: f"{n:.1f}km/h".replace(".", ","), float, "km/h"),
        (lambda n: f"{n}k", float, "k"),
        (
            lambda n: f"€{n / 1000}M" if n > 9999 else f"€{n / 10}K",
            lambda n: n * 1000 if n > 9999 else n * 100,
            MILLIONS,
        ),
        (lambda n: f"{n / 1000}k" if n > 9999 else f"{n}", float, MILLIONS),
    ],
    ids=["unit", "decimal comma", "always k", "millions and thousands", "thousands and none"],
)
def test_numbers_in_one_unit_or_with_factors_are_numbers_and_that_is_told(tmp_path, written, number, unit):
    numbers = [int(n) for n in RANDOM.integers(1000, 20_000, N)]
    words = [written(n) for n in numbers]
    table = Table(tmp_path, {"size": words, "weight": WEIGHT}, test_share=0)
    assert table.role("size") == ("input", "written number")
    assert f", in {unit}" in table.columns["size"]["why"]
    assert {"column": "size", "kind": f"written number, in {unit}"} in table.artefact.facts["inputs"]
    assert table.x()[:, 0].tolist() == pytest.approx([number(n) for n in numbers])
    assert table.samples()["size"].to_pylist() == words


@pytest.mark.parametrize("block", [1, 7, N])
@pytest.mark.parametrize(
    "odd", ["52 lb", "52", "heavy", "about 52 kg", "52 kg each", "052 kg", "5-6 kg", "52 Kg", "5 kg 200 g"]
)
def test_one_word_that_is_no_number_in_the_same_unit_leaves_a_column_text(block, odd):
    for words in ([f"{n} kg" for n in range(1, N)] + [odd], [odd] + [f"{n} kg" for n in range(1, N)]):
        profile = Profile(())
        for first in range(0, N, block):
            profile.add(pa.array(words[first : first + block]))
        assert profile.forms == []


@pytest.mark.parametrize("words", [["3 doors", "1 door"], ["top 5", "top 40"], ["7 up", "7 down"], ["$5k", "€1M"]])
def test_words_with_numbers_in_them_stay_words(tmp_path, words):
    table = Table(tmp_path, {"name": words * (N // 2), "weight": WEIGHT})
    assert table.role("name") == ("input", "category")


def test_a_comma_that_may_be_either_is_told(tmp_path):
    prices = [f"{n},{n + 100}" for n in range(1, N + 1)]
    table = Table(tmp_path, {"price": prices, "weight": WEIGHT})
    assert "a comma is read as between thousands" in table.columns["price"]["why"]


@FORMS
def test_dates_are_their_parts_that_differ(tmp_path, form):
    moments = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=7 * i) for i in range(N)]
    table = Table(tmp_path, {"picked": pa.array(moments, pa.timestamp("s"))}, form, test_share=0)
    assert table.role("picked") == ("input", "date")
    (encoder,) = table.payload.encoders
    assert encoder.parts == ("days", "month", "weekday", "hour")
    days = [(moment - moments[0]).total_seconds() / 86_400 for moment in moments]
    assert np.allclose(table.x()[:, 0], days, atol=1e-4)


def test_the_order_of_day_and_month_is_that_which_reads_every_date(tmp_path):
    dates = [f"{day:02d}/{month:02d}/2024" for day in range(1, 31) for month in (1, 3, 5, 6)]
    table = Table(tmp_path, {"day": dates}, test_share=0)
    assert table.payload.encoders[0].form == "%d/%m/%Y"


def test_words_of_many_values_that_repeat_are_hashed(tmp_path):
    towns = [f"town {i % 50}" for i in range(N)]
    table = Table(tmp_path, {"town": towns}, test_share=0)
    assert table.role("town") == ("input", "hashed text")
    assert np.allclose(np.linalg.norm(table.x(), axis=1), 1)


def test_values_of_few_rows_and_of_none_are_the_others(tmp_path):
    random.seed(0)
    words = ["oak", "elm"] * 58 + ["rare", "rarer", "rarest", "odd"]
    split = ["train"] * 119 + ["test"]
    table = Table(tmp_path, {"tree": words, "part": split}, split="part")
    (encoder,) = table.payload.encoders
    assert (encoder.values, encoder.others) == (("elm", "oak"), True)
    unseen = load(table.run, table.artefact, "test").x.numpy()
    assert unseen.tolist() == [[0.0, 0.0, 1.0]]


def test_encoders_are_fitted_on_training_rows_alone(tmp_path):
    split = ["train"] * 100 + ["test"] * 20
    numbers = [None if i % 10 == 0 else 1.0 for i in range(100)] + [1e6] * 20
    words = ["a", "b"] * 50 + ["new"] * 20
    table = Table(tmp_path, {"n": numbers, "w": words, "part": split}, split="part")
    assert table.payload.encoders[0].median == 1.0
    assert table.payload.encoders[1].values == ("a", "b")
    assert load(table.run, table.artefact, "test").x.numpy().tolist() == [[1e6, 0.0, 0.0, 0.0]] * 20


# ---- what is none -----------------------------------------------------------------------------------------------


NEVER = {
    "nr": list(range(7, N + 7)),
    "shuffled": np.random.default_rng(1).permutation(N),
    "customer_id": np.random.default_rng(2).choice(10**6, N, replace=False),
    "Kundennummer": np.random.default_rng(3).choice(10**7, N, replace=False),
    "order no": np.random.default_rng(4).choice(10**6, N, replace=False),
    "userID": [f"u{i * i}" for i in range(N)],
    "uuid": [f"{i:08x}-0000" for i in range(N)],
    "name": [f"Passenger {i}" for i in range(N)],
    "note": [f"some words about sample {i // 2} of all" if i > 9 else f"note {i} is this" for i in range(N)],
    "country": ["NL"] * N,
}


@FORMS
@pytest.mark.parametrize("name", NEVER)
def test_what_only_tells_rows_apart_or_nothing_is_an_input_only_where_it_is_named(tmp_path, form, name):
    columns = {"weight": WEIGHT, name: NEVER[name]}
    (tmp_path / "named").mkdir()
    table = Table(tmp_path, columns, form)
    assert table.payload.columns == ("weight",)
    assert table.role(name)[0] in ("index", "id", "text", "carried")
    assert table.columns[name]["why"]
    assert name in table.samples().column_names
    named = Table(tmp_path / "named", columns, form, features=["weight", name])
    assert named.payload.columns == ("weight", name)
    assert named.role(name)[0] == "input"


def test_a_number_that_is_not_whole_or_repeats_is_learned_from_whatever_its_name(tmp_path):
    columns = {"reynolds_number": RANDOM.normal(4000, 500, N), "house_number": RANDOM.integers(1, 99, N)}
    table = Table(tmp_path, columns)
    assert table.payload.columns == ("reynolds_number", "house_number")


def test_an_id_that_repeats_is_no_id(tmp_path):
    table = Table(tmp_path, {"shop_id": RANDOM.integers(0, 9, N), "weight": WEIGHT})
    assert table.role("shop_id") == ("input", "number")


@pytest.mark.parametrize("first", [1, 100_000])
def test_an_id_that_some_rows_lack_is_an_id(first, tmp_path):
    """One empty cell made an input of it, and floats of its numbers."""
    ids = [None if place in (17, 60) else first + 7 * place for place in range(N)]
    table = Table(tmp_path, {"customer_id": pa.array(ids, pa.int64()), "weight": WEIGHT})
    assert table.role("customer_id")[0] == "id"
    assert table.columns["customer_id"]["why"] == "an id by its name, with another value in every row that has one"
    assert table.payload.columns == ("weight",)


def test_row_numbers_of_which_some_are_missing_are_row_numbers(tmp_path):
    table = Table(tmp_path, {"nr": pa.array([None if i == 17 else i for i in range(N)], pa.int64()), "weight": WEIGHT})
    assert table.role("nr") == ("index", "number")
    (tmp_path / "other").mkdir()
    # As many different whole numbers, but over more places than there are rows.
    other = Table(tmp_path / "other", {"mass": pa.array([None, *range(3, 2 * N, 2)][:N], pa.int64()), "weight": WEIGHT})
    assert other.role("mass") == ("input", "number")


def test_a_constant_number_stays_an_input_and_is_told(tmp_path):
    """Else every sample would be called otherwise on the day when it is constant no more."""
    table = Table(tmp_path, {"weight": WEIGHT, "year": [2024] * N})
    assert table.payload.columns == ("weight", "year")
    assert table.columns["year"]["why"] == CONSTANT


def test_a_table_of_which_nothing_can_be_learned_is_refused_with_every_columns_reason(tmp_path):
    with pytest.raises(BadInput) as caught:
        Table(tmp_path, {"nr": NEVER["nr"], "name": NEVER["name"], "year": [2024] * N})
    assert caught.value.got == (
        "none: nr (consecutive numbers, one for each row); name (text that differs in every row); "
        "year (the same value in every row)"
    )


def test_an_integer_price_as_a_label_hints_at_regression(tmp_path):
    prices = {"price": RANDOM.choice(10**5, N, replace=False), "weight": WEIGHT}
    with pytest.raises(BadInput, match=r"120 different numbers in 120 rows\. For regression set --reader\.target numb"):
        Table(tmp_path, prices, label="price")
    (tmp_path / "number").mkdir()
    assert Table(tmp_path / "number", prices, label="price", target="number").role("price") == ("label", "number")


def test_prices_as_people_write_them_are_labels(tmp_path):
    numbers = RANDOM.integers(10_000, 99_999, N) + 0.25
    table = Table(tmp_path, {"price": [f"{n:,}" for n in numbers], "w": WEIGHT}, label="price", target="number")
    assert sorted(map(float, table.samples()["label"].to_pylist())) == sorted(numbers)


# ---- what is told -----------------------------------------------------------------------------------------------


def test_every_column_of_the_source_is_told(tmp_path):
    columns = {
        "row": WEIGHT, "site": ["a", "b"] * (N // 2), "uid": [f"u{i}" for i in range(N)], "weight": WEIGHT,
        "truth": LABELS, "tags": [["x"]] * N,
    }  # fmt: skip
    table = Table(tmp_path, columns, "parquet", group="site", id="uid", clean_label="truth")
    roles = {name: row["role"] for name, row in table.columns.items()}
    assert roles == {
        "label": "label", "uid": "id", "site": "group", "truth": "clean_label", "row": "carried", "weight": "input",
        "tags": "carried",
    }  # fmt: skip
    assert table.columns["label"]["distinct_values"] == 3
    assert table.columns["tags"] == {
        "name": "tags", "role": "carried", "kind": "other", "distinct_values": None, "missing": 0,
        "why": "lists of string",
    }  # fmt: skip


def test_an_input_that_tells_the_label_by_itself_is_told_and_used(tmp_path):
    codes = {"plum": "p", "pear": "q", "fig": "r"}
    columns = {"code": [codes[label] for label in LABELS], "weight": WEIGHT, "site": ["a", "b"] * (N // 2)}
    table = Table(tmp_path, columns)
    assert table.payload.columns == ("code", "weight", "site")
    assert table.artefact.facts["leaks"] == ["code"]
    assert table.columns["code"]["why"].endswith("tells the label by itself")


def test_a_word_in_a_column_of_numbers_costs_its_row_and_a_column_of_both_is_of_words(tmp_path):
    table = Table(tmp_path, {"a": ["many", *map(str, WEIGHT[1:])], "b": ["low", "1"] * (N // 2)})
    assert table.artefact.facts["rejects"] == {"not a number": 1}
    assert table.role("b") == ("input", "category")


def test_two_names_that_sql_takes_for_one_are_two_columns(tmp_path):
    table = Table(tmp_path, {"a": range(5, N * 3 + 5, 3), "A": ["x", "y"] * (N // 2)}, test_share=0)
    assert [table.role("a"), table.role("A_2")] == [("input", "number"), ("input", "category")]
    assert table.x().shape == (N, 3)


def test_a_json_key_may_be_a_number_here_and_a_word_there(tmp_path):
    lines = [
        f'{{"label": "{LABELS[i % N]}", "k": {i % 3 if i < 4200 else chr(34) + "x" + chr(34)}}}' for i in range(8400)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    run = Run.start(tmp_path / "lake", "roles")
    artefact = ingest.fn(run, Jsonl(path=tmp_path / "a.jsonl", test_share=0), Ingestion())
    assert payload_of(artefact).encoders[0].values == ("0", "1", "2", "x")
    assert artefact.facts["rejects"] == {}


EXOTIC = {
    "decimal": (pa.array([Decimal(i % 7) if i % 9 else None for i in range(N)], pa.decimal128(9, 2)), "number"),
    "half float": (pa.array(np.where(np.arange(N) % 9, RANDOM.random(N), np.nan).astype(np.float16)), "number"),
    "coded numbers": (pa.array([i % 7 for i in range(N)]).dictionary_encode(), "number"),
    "coded words": (pa.array(["a", "b", None] * (N // 3), pa.large_string()).dictionary_encode(), "category"),
    "large words": (pa.array(["a", "b", None] * (N // 3), pa.large_string()), "category"),
    "words by view": (pa.array(["a", "b", None] * (N // 3), pa.string_view()), "category"),
    "booleans with gaps": (pa.array([True, False, None] * (N // 3)), "boolean"),
    "dates": (pa.array([dt.date(2024, 1 + i % 9, 3) if i % 9 else None for i in range(N)]), "date"),
    "zoned times": (
        pa.array([dt.datetime(2024, 1 + i % 9, 3) if i % 9 else None for i in range(N)], pa.timestamp("us", "UTC")),
        "date",
    ),
    "times of day": (pa.array([dt.time(i % 24) if i % 9 else None for i in range(N)]), "date"),
    "huge integers": (pa.array([2**63 + (i * i) for i in range(N)], pa.uint64()), "number"),
}


@pytest.mark.parametrize("name", EXOTIC)
def test_columns_of_every_arrow_type_are_encoded_and_keep_their_type(tmp_path, name):
    column, kind = EXOTIC[name]
    table = Table(tmp_path, {"x": column, "weight": WEIGHT}, "parquet", test_share=0)
    assert table.role("x") == ("input", kind)
    assert table.artefact.facts["rejects"] == {}
    assert np.isfinite(table.x()).all()
    assert table.columns["x"]["missing"] == column.is_null(nan_is_null=True).to_pylist().count(True)
    if kind != "number":
        assert table.samples()["x"].to_pylist() == column.to_pylist()


def test_postal_codes_are_no_numbers_and_keep_their_zeros(tmp_path):
    table = Table(tmp_path, {"zip": [f"{i % 12:05d}" for i in range(N)], "a": [i * i for i in range(N)]})
    assert table.role("zip") == ("input", "category")


def test_a_few_thousands_among_plain_numbers_are_read_as_numbers_too(tmp_path):
    prices = [f"{1000 + i:,}" if i % 25 == 0 else str(i) for i in range(N)]
    table = Table(tmp_path, {"price": prices, "a": [i * i for i in range(N)]})
    assert table.role("price") == ("input", "written number")
    assert table.artefact.facts["rejects"] == {}


def test_versions_and_sizes_are_no_dates(tmp_path):
    table = Table(tmp_path, {"version": [f"{i % 3}.{i % 4}.3" for i in range(N)], "a": [i * i for i in range(N)]})
    assert table.role("version") == ("input", "category")
