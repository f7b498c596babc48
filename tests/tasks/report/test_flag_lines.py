"""What a summary says of the flagged: the count, what is expected of it, and what is left where there is none."""

from tasks.report.flag_lines import flag_lines

KNOWN = {"subject": "network", "passed": True, "text": "better than chance"}
UNKNOWN = {"subject": "network", "passed": False, "text": "no better than chance, so nothing is known of any label"}
RANGE = {"wrong": {"value": None, "low": 0.0, "high": 0.07}}


def facts(flagged: int, *diagnoses: dict) -> dict:
    about = {"flagged": flagged, "of": 100, "detector": "fusion", "budget": flagged}
    return about | {"diagnoses": list(diagnoses), "found": RANGE}


def test_the_range_stands_where_no_figure_is_known():
    assert flag_lines(facts(7, KNOWN)) == [
        "7 of 100 training samples, decided by fusion (budget 7)",
        "labels thought wrong: between 0.0% and 7.0%",
    ]


def test_where_none_is_flagged_it_is_said_that_the_order_stands():
    (*_, last) = flag_lines(facts(0, KNOWN))
    assert "the order stands (view flags, by rank)" in last
    assert "--budget.kind share --budget.share 0.01" in last


def test_of_an_order_that_nothing_is_known_of_nothing_is_said():
    assert flag_lines(facts(0, UNKNOWN))[1] == UNKNOWN["text"]
    assert not any("order" in line for line in flag_lines(facts(0, UNKNOWN)))
