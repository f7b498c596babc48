"""Encoders of columns: what of a table that is not only numbers a network receives. To add one, add a file here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.dataset.encoders.boolean import Boolean
from tasks.dataset.encoders.category import Category
from tasks.dataset.encoders.date_parts import DateParts
from tasks.dataset.encoders.hashed_text import HashedText
from tasks.dataset.encoders.number import Number
from tasks.dataset.encoders.numbers import Numbers

ColumnEncoder = Annotated[Number | Numbers | Boolean | Category | HashedText | DateParts, Field(discriminator="kind")]
