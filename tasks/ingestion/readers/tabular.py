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

import pyarrow as pa
from pydantic import Field, model_validator

from tasks.core.errors import BadInput
from tasks.dataset import images
from tasks.dataset.payload import Payload
from tasks.dataset.targets import TargetKind
from tasks.dataset.tokenizer import HASHED_WORDS
from tasks.ingestion.columns import image_bytes, input_type, is_list
from tasks.ingestion.label_column import check_labels
from tasks.ingestion.readers import Chunk, Reader, existing_path, files_below
from tasks.ingestion.table_options import MISSING, TableOptions
from tasks.ingestion.table_rows import Batch, Mapping, Roles, chunk_of, own_name
from tasks.ingestion.text_tokens import TextTokens


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
        description="Input columns. Default: every column with no other role that a network can learn from; "
        "gradsieve inspect says which, and why the others are none.",
    )
    missing: list[str] = Field(
        default=list(MISSING), description="Cells that hold no value, beside empty ones, in any of their cases."
    )
    image: str | None = Field(default=None, description="Column of encoded images, instead of features.")
    image_size: int | None = Field(default=None, ge=4, description="Resize images to squares of this many pixels.")
    text: str | None = Field(default=None, description="Column of text, instead of features.")
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
        if self.target == "response" and (self.text is None or self.text_b is not None):
            raise ValueError("target response: expected the column of prompts as text, and no text_b")
        return self

    @property
    def says(self) -> tuple[TargetKind, str]:
        """As the options say."""
        return self.target, self.separator

    def fingerprint(self) -> str:
        """The source files, and the tokenizer."""
        files = super().fingerprint()
        if self.text is None or self.tokens.tokenizer == HASHED_WORDS:
            return files
        return f"{files} {self.tokens.tokenizer_now().digest}"

    def batches(self, path: Path) -> Iterator[Batch]:
        """The source's rows, in order. At least one batch, with the source's columns, even when it has no rows."""
        raise TypeError(f"{type(self).__name__} must define batches()")

    def open(self) -> tuple[Payload | TableOptions, Iterator[Chunk]]:
        """Map the columns by the first batch and stream the rest."""
        path = existing_path(self.path, f"a file or folder of kind {self.kind}")
        batches = self.batches(path)
        first = next((batch for batch in batches if batch.table.num_rows or batch.rejects), None)
        if first is None:
            raise BadInput(where=str(path), expected="rows", got="none", do="The source is empty; check the path.")
        mapping = self.map_columns(first.table, str(path))
        inputs = mapping.payload or self.table_options(first.table, str(path))
        return inputs, self._chunks(first, batches, mapping)

    def files(self) -> list[Path]:
        """Every source file, training first."""
        return files_below(self.path) + files_below(self.test_path) + files_below(self.reference_path)

    def _chunks(self, first: Batch, rest: Iterator[Batch], mapping: Mapping) -> Iterator[Chunk]:
        split = None if self.test_path is None else "train"
        yield chunk_of(first, mapping, self.roles, split)
        for batch in rest:
            yield chunk_of(batch, mapping, self.roles, split)
        for split, source in (("test", self.test_path), ("validation", self.reference_path)):
            if source is None:
                continue
            path = existing_path(source, f"a file or folder of kind {self.kind}")
            for batch in self.batches(path):
                self._check_names(batch.table.schema.names, str(path))
                yield chunk_of(batch, mapping, self.roles, split)

    # ---- roles -------------------------------------------------------------------------------------------------

    def map_columns(self, table: pa.RecordBatch, where: str) -> Mapping:
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
            payload = Payload(kind="image", columns=(own_name(self.image),), shape=shape, dtype="uint8", resize=resize)
            return Mapping(payload, (self.image,), *self._others(table, [self.image]))
        if self.text:
            texts = [name for name in (self.text, self.text_b) if name]
            with_response = self.target == "response"
            length = self.tokens.max_length
            shape = (2, length) if self.text_b or with_response else (length,)
            tokens = self.tokens.tokenizer_now(with_response=with_response)
            own = tuple(map(own_name, texts))
            columns = (*own, "label") if with_response else own
            payload = Payload(kind="tokens", columns=columns, shape=shape, dtype="int32", tokens=tokens)
            return Mapping(payload, tuple(texts), *self._others(table, texts))
        carried = {field.name: field.type for field in table.schema if field.name not in self.roles.columns}
        return Mapping(None, tuple(self.features or ()), carried, {})

    def table_options(self, table: pa.RecordBatch, where: str) -> TableOptions:
        """What roles are settled by, once all rows are known."""
        names = [name for name in table.schema.names if name not in self.roles.columns]
        assigned = {option: name for option, name in self.roles.named.items() if name is not None}
        return TableOptions(
            where=where,
            settle_input=self.input_type,
            settle_carried=self.carried_type,
            features=tuple(map(own_name, self.features or ())),
            shape=tuple(self.shape or ()),
            assigned=assigned,
            target=self.target,
            own_names={name: own_name(name) for name in names if own_name(name) != name},
            missing=tuple(self.missing),
        )

    def input_type(self, kind: pa.DataType, width: int) -> pa.DataType:
        """The type an input column has in every batch; formats without a schema settle on float64."""
        if is_list(kind):
            return pa.list_(input_type(kind.value_type), width)
        return input_type(kind)

    @property
    def roles(self) -> Roles:
        """The columns that are no inputs."""
        return Roles(self.label, self.says, self.id, self.split, self.group, self.clean_label)

    def _others(self, table: pa.RecordBatch, inputs: list[str]) -> tuple[dict[str, pa.DataType], dict[str, str]]:
        """The types of the columns that are neither inputs nor have a role, and why no network reads them."""
        assigned = {*inputs, *self.roles.columns}
        extra = {field.name: self.carried_type(field.type) for field in table.schema if field.name not in assigned}
        option = "image" if self.image else "text"
        return extra, dict.fromkeys(extra, f"not named by --reader.{option}")

    def carried_type(self, kind: pa.DataType) -> pa.DataType:
        """The type a carried column has in every batch; formats without a schema settle on text."""
        return pa.string() if pa.types.is_null(kind) or pa.types.is_string_view(kind) else kind

    def _check_names(self, present: list[str], where: str) -> None:
        if len(set(present)) < len(present):
            raise BadInput(
                where=where,
                expected="distinct column names",
                got=", ".join(sorted({name for name in present if present.count(name) > 1})) + " more than once",
                do="Rename the columns.",
            )
        roles = self.roles.columns
        option_names = [*self.roles.columns, self.image, self.text, self.text_b, *(self.features or [])]
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
        inputs = self.features or [name for name in (self.text, self.text_b) if name]
        wrong = sorted({name for name in inputs if inputs.count(name) > 1 or name in {*roles, self.image}})
        if wrong:
            raise BadInput(
                where=f"{where}, option {'text' if self.text else 'features'}",
                expected="each column once, and none that has another role",
                got=", ".join(wrong),
                do="Drop it: a label among the inputs would tell the model what it is asked.",
            )
