"""One look at a line whose cells are whole tells what a look at each of its quotes does."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ingestion.files.quotes import Quotes

LINES = st.lists(st.text('a",\n"\\ \ufeff,', max_size=8), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, database=None)
@given(LINES, st.sampled_from([None, "\\"]))
def test_a_line_is_read_alike_at_one_look_and_quote_by_quote(lines, escape):
    quick, slow = Quotes(",", escape), Quotes(",", escape)
    slow.whole = re.compile("(?!)")
    for number, line in enumerate("\n".join(lines).splitlines(keepends=True), 1):
        assert quick.read(line, number) == slow.read(line, number)
        assert quick.began == slow.began
