"""Tables to samples: which column is the label, which are the inputs.

Shared by every reader whose source is a table. A format brings its schema and its record batches; the mapping is
here, once, rows are judged in tasks/ingestion/table_rows.py, values converted in tasks/ingestion/columns.py.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from tasks.core.errors import BadInput
from tasks.dataset import images
from tasks.dataset.chat_template import Chat, digest_in
from tasks.dataset.payload import Payload
from tasks.dataset.pretrained_files import locate
from tasks.dataset.targets import TargetKind
from tasks.dataset.tokenizer import HASHED_WORDS, Tokens
from tasks.dataset.tokenizer_file import FILE
from tasks.ingestion.columns import (
    element_type,
    image_bytes,
    input_type,
    is_list,
    why_no_input,
    width_of,
)
from tasks.ingestion.label_column import check_labels
from tasks.ingestion.prompts import Flatten, Prompts, prompts_of, texts_of
from tasks.ingestion.readers import Chunk, Reader, existing_path, files_below
from tasks.ingestion.table_rows import RESERVED_NAMES, Batch, Mapping, Roles, chunk_of
from tasks.ingestion.text_tokens import TextTokens, text_payload
from tasks.ingestion.unused_columns import columns_by_reason, display_name, is_row_number


class Tabular(Reader):
    """Base of the readers of tables."""

    kind: Any = None
    path: Path = Field(description="The file, or a folder of files of this format.")
    test_path: Path | None = Field(default=None, description="File or folder of test samples.")
    reference_path: Path | None = Field(
        default=None,
        description="File or folder of samples to refer to, as split validation: trusted ones, or of the domain that "
        "the model is meant for. Nothing is trained on them; detectors ocsvm and of influence compare with them.",
    )
    label: str = Field(default="label", description="Column of labels. Of classes: text, integers or booleans.")
    target: TargetKind = Field(
        default="class",
        description="What a label says. class: one of several. number: a number, for regression. labels: any number of "
        "labels, as a list or as text with the separator between. response: the answer to the text, for a causal_lm.",
    )
    separator: str = Field(default="|", min_length=1, max_length=8, description="Between the labels of target labels.")
    features: list[str] | None = Field(
        default=None,
        description="Input columns: numbers or lists of numbers. Default: every numeric column with no other role, but "
        "for one without a name or named index, Unnamed: 0 or __index_level_0__, which numbers the rows.",
    )
    image: str | None = Field(default=None, description="Column of encoded images, instead of features.")
    image_size: int | None = Field(default=None, ge=4, description="Resize images to squares of this many pixels.")
    text: str | list[str] | None = Field(
        default=None,
        description="Column of text, instead of features; several are read as one text, with an empty line between. Of "
        "target response: the prompts; default: by the format (messages, prompt and completion, instruction …).",
    )
    text_b: str | None = Field(default=None, description="Column of the text that each text is read with, as a pair.")
    tokens: TextTokens = Field(default=TextTokens(), description="How text becomes the integers that a model reads.")
    shape: list[int] | None = Field(
        default=None,
        description="Shape of one input when the features are the pixels of an image: channels, height, width.",
    )
    id: str | None = Field(default=None, description="Column of your own ids, carried along as source_id.")
    split: str | None = Field(default=None, description="Column that says train, validation or test.")
    group: str | None = Field(
        default=None, description="Column of groups (patient, site …): a group is never torn across folds."
    )
    clean_label: str | None = Field(
        default=None, description="Column of known true labels; only ever used to measure detection."
    )

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> Self:
        roles = [name for name in ("features", "image", "text") if getattr(self, name) is not None]
        if self.text is not None and len(roles) > 1:
            raise ValueError(f"expected one of features, image and text, got {' and '.join(roles)}")
        if self.text_b is not None and (self.text is None or self.text_b == self.text):
            raise ValueError("text_b: expected the second column of a pair, beside text")
        if self.text_b is not None and (self.target == "response" or len(self.texts) > 1):
            raise ValueError("text_b: expected one column of text beside it, and another target than response")
        if self.target == "response" and roles not in ([], ["text"]):
            raise ValueError(f"target response: expected the column of prompts as text, got {' and '.join(roles)}")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that are read as one text."""
        return () if self.text is None else (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def _text_columns(self) -> tuple[str, ...]:
        return self.texts if self.text_b is None else (*self.texts, self.text_b)

    @property
    def says(self) -> tuple[TargetKind, str]:
        """As the options say."""
        return self.target, self.separator

    def fingerprint(self) -> str:
        """The source files, and the tokenizer."""
        files = super().fingerprint()
        with_response = self.target == "response"
        if (self.text is None and not with_response) or self.tokens.tokenizer == HASHED_WORDS:
            return files
        template = digest_in(locate(self.tokens.tokenizer, FILE)) if with_response else ""
        return f"{files} {self.tokens.tokenizer_now().digest}{template}"

    def batches(self, path: Path) -> Iterator[Batch]:
        """The source's rows, in order. At least one batch, with the source's columns, even when it has no rows."""
        raise TypeError(f"{type(self).__name__} must define batches()")

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """Map the columns by the first batch and stream the rest."""
        path = existing_path(self.path, f"a file or folder of kind {self.kind}")
        batches = self.batches(path)
        first = next((batch for batch in batches if batch.table.num_rows or batch.rejects), None)
        if first is None:
            raise BadInput(where=str(path), expected="rows", got="none", do="The source is empty; check the path.")
        prompts = self._prompts(first, str(path))
        reader = self.model_copy(update=prompts.roles)
        first = prompts.flatten(first)
        mapping = prompts.told(reader.map_columns(first.table, str(path), prompts.chat))
        return mapping.payload, reader._chunks(first, map(prompts.flatten, batches), mapping, prompts.flatten)

    def _prompts(self, first: Batch, where: str) -> Prompts:
        """Which columns are texts, and the responses to them."""
        if self.target != "response":
            return texts_of(first, self.texts, self.text_b, where)
        is_named = self.label != "label" or ("label" in self.model_fields_set and "label" in first.table.schema.names)
        return prompts_of(first, self.texts, self.label if is_named else None, where, self._tokens)

    def files(self) -> list[Path]:
        """Every source file, training first."""
        return files_below(self.path) + files_below(self.test_path) + files_below(self.reference_path)

    def _chunks(self, first: Batch, rest: Iterator[Batch], mapping: Mapping, flatten: Flatten) -> Iterator[Chunk]:
        split = None if self.test_path is None else "train"
        yield chunk_of(first, mapping, self.roles, split)
        for batch in rest:
            yield chunk_of(batch, mapping, self.roles, split)
        for split, source in (("test", self.test_path), ("validation", self.reference_path)):
            if source is None:
                continue
            path = existing_path(source, f"a file or folder of kind {self.kind}")
            for batch in map(flatten, self.batches(path)):
                self._check_names(batch.table.schema.names, str(path))
                yield chunk_of(batch, mapping, self.roles, split)

    # ---- roles -------------------------------------------------------------------------------------------------

    def map_columns(self, table: pa.RecordBatch, where: str, chat: Chat | None = None) -> Mapping:
        """Check every named column against the source and settle the payload.

        Raises:
            BadInput: a named column is missing, the label is of floats, no column can be an input.
        """
        self._check_names(table.schema.names, where)
        check_labels(table.column(self.label), self.target, self.label, where)
        if self.image:
            data = [image_bytes(value) for value in table.column(self.image).slice(0, 32).to_pylist()]
            shape = images.first_shape(data, self.image_size, f"{where}, column {self.image!r}")
            resize = self.image_size is not None
            payload = Payload(kind="image", columns=(self.image,), shape=shape, dtype="uint8", resize=resize)
            return Mapping(payload, {self.image: 1}, {self.image: pa.binary()}, *self._others(table, [self.image]))
        if self.text:
            texts = self._text_columns
            payload = text_payload(texts, self.tokens.max_length, self._tokens(chat))
            widths, types = dict.fromkeys(texts, 1), dict.fromkeys(texts, pa.string())
            return Mapping(payload, widths, types, *self._others(table, [*texts]))
        names = self.features or [name for name in table.schema.names if self._may_be_input(name, table.column(name))]
        widths = {name: width_of(table.column(name)) for name in names}
        self._check_inputs(table, widths, where)
        payload = self._array_payload(table, names, widths, where)
        types = {name: self.input_type(table.schema.field(name).type, widths[name]) for name in names}
        return Mapping(payload, widths, types, *self._others(table, names))

    def _tokens(self, chat: Chat | None) -> Tokens:
        joined = len(self.texts) if len(self.texts) > 1 else None
        return self.tokens.tokenizer_now(with_response=self.target == "response", joined=joined, chat=chat)

    def _check_inputs(self, table: pa.RecordBatch, widths: dict[str, int], where: str) -> None:
        odd = next((name for name, width in widths.items() if width == 0), None)
        if widths and odd is None:
            return
        unused = self._others(table, [])[1]
        raise BadInput(
            where=where if odd is None else f"{where}, column {odd!r}",
            expected="numbers, or lists of numbers, as input columns",
            got=str(table.schema.field(odd).type)
            if odd is not None
            else f"none: {columns_by_reason(unused)}"
            if unused
            else f"no column without another role, among {', '.join(map(display_name, table.schema.names))}",
            do="Name columns of numbers with --reader.features, one of text with --reader.text, one of encoded images "
            "with --reader.image; pandas.get_dummies makes numbers of words.",
        )

    def input_type(self, kind: pa.DataType, width: int) -> pa.DataType:
        """The type an input column has in every batch; formats without a schema settle on float64."""
        if is_list(kind):
            return pa.list_(input_type(kind.value_type), width)
        return input_type(kind)

    def _array_payload(self, table: pa.RecordBatch, names: list[str], widths: dict[str, int], where: str) -> Payload:
        width = sum(widths.values())
        shape = tuple(self.shape or (width,))
        if int(np.prod(shape)) != width:
            raise BadInput(
                where=f"{where}, option shape",
                expected=f"a shape of {width:,} values, as many as the features have",
                got=" × ".join(map(str, shape)),
                do="Give channels, height and width whose product is the number of features.",
            )
        kinds = {element_type(table.column(name).type) for name in names}
        dtype = "uint8" if kinds == {pa.uint8()} else "int8" if kinds == {pa.int8()} else "float32"
        return Payload(kind="array", columns=tuple(names), shape=shape, dtype=dtype)

    @property
    def roles(self) -> Roles:
        """The columns that are no inputs."""
        return Roles(self.label, self.says, self.id, self.split, self.group, self.clean_label)

    def _others(self, table: pa.RecordBatch, inputs: list[str]) -> tuple[dict[str, pa.DataType], dict[str, str]]:
        """The types of the columns that are neither inputs nor have a role, and why no network reads them."""
        assigned = {*inputs, *self.roles.columns}
        extra = {field.name: self.carried_type(field.type) for field in table.schema if field.name not in assigned}
        option = next((option for option in ("features", "text", "image") if getattr(self, option)), None)
        if option is not None:
            return extra, dict.fromkeys(extra, f"not named by --reader.{option}")
        return extra, {name: self._why_not(name, table.column(name)) or "" for name in extra}

    def carried_type(self, kind: pa.DataType) -> pa.DataType:
        """The type a carried column has in every batch; formats without a schema settle on text."""
        return pa.string() if pa.types.is_null(kind) else kind

    def _check_names(self, present: list[str], where: str) -> None:
        if len(set(present)) < len(present):
            raise BadInput(
                where=where,
                expected="distinct column names",
                got=", ".join(sorted({name for name in present if present.count(name) > 1})) + " more than once",
                do="Rename the columns.",
            )
        roles = self.roles.columns
        option_names = [*self._text_columns, *self.roles.columns, self.image, *(self.features or [])]
        for name in option_names:
            if name is not None and name not in present:
                near = difflib.get_close_matches(name, present, n=1)
                raise BadInput(
                    where=where,
                    expected=f"a column {name!r}",
                    got=f"columns {', '.join(present[:20])}{' …' if len(present) > 20 else ''}",
                    do=f"Did you mean {near[0]!r}?"
                    if near
                    else "Map the columns by name (label, features, image, text …).",
                )
        inputs = self.features or [*self._text_columns]
        wrong = sorted({name for name in inputs if inputs.count(name) > 1 or name in {*roles, self.image}})
        if wrong:
            raise BadInput(
                where=f"{where}, option {'text' if self.text else 'features'}",
                expected="each column once, and none that has another role",
                got=", ".join(wrong),
                do="Drop it: a label among the inputs would tell the model what it is asked.",
            )
        clash = sorted(set(inputs or [self.image or ""]) & set(RESERVED_NAMES))
        if clash:
            raise BadInput(
                where=where,
                expected="input columns whose names are not gradsieve's own",
                got=", ".join(clash),
                do=f"Rename them; reserved are {', '.join(RESERVED_NAMES)}.",
            )

    def _may_be_input(self, name: str, column: pa.Array) -> bool:
        return name not in self.roles.columns and self._why_not(name, column) is None

    def _why_not(self, name: str, column: pa.Array) -> str | None:
        """Why a column without a role is no input unless it is named as one; None where it is."""
        if name in RESERVED_NAMES:
            return "a name of gradsieve's own"
        return why_no_input(column) or ("a row number by its name" if is_row_number(name) else None)
