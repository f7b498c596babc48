"""Tables to samples: which column is the label, which are the inputs.

Shared by every reader whose source is a table. A format brings its schema and its record batches; the mapping is
here, once. Rows are judged in tasks/ingestion/tables/table_rows.py, values converted in columns.py beside it.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tasks.core.errors import BadInput
from tasks.dataset.chat_template import Chat, digest_in
from tasks.dataset.payload import Payload
from tasks.dataset.pretrained_files import locate
from tasks.dataset.targets import TargetKind
from tasks.dataset.tokenizer import HASHED_WORDS, Tokens
from tasks.dataset.tokenizer_file import FILE
from tasks.ingestion.label_forms import NO_LABEL
from tasks.ingestion.readers import Chunk
from tasks.ingestion.readers.picture_tables import PictureTables, found_note, parts_of, with_note
from tasks.ingestion.readers.table_files import OpenTable
from tasks.ingestion.tables.column_names import check_named, shown_names
from tasks.ingestion.tables.columns import input_type, is_list
from tasks.ingestion.tables.label_column import check_labels
from tasks.ingestion.tables.one_hot_labels import label_columns, with_label_sets
from tasks.ingestion.tables.picture_cells import Beside
from tasks.ingestion.tables.shown_pictures import with_shown_pictures
from tasks.ingestion.tables.table_options import MISSING, WEIGHTS, TableOptions
from tasks.ingestion.tables.table_rows import Batch, Mapping, Roles, chunk_of, own_name
from tasks.ingestion.tables.weight_column import WeightColumn, check_only_weights
from tasks.ingestion.text.prompts import Flatten, Prompts, named_columns, prompts_of, texts_of
from tasks.ingestion.text.text_tokens import TextTokens, text_payload


class Tabular(PictureTables):
    """Base of the readers of tables."""

    kind: Any = None
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
    split: str | None = Field(default=None, description="Column of train, validation, test. Default: one called split.")
    group: str | None = Field(
        default=None, description="Column of groups (patient, site …): a group is never torn across folds."
    )
    clean_label: str | None = Field(
        default=None, description="Column of known true labels; only ever used to measure detection."
    )
    weights: WeightColumn = None

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
    def may_be_pictures(self) -> bool:
        """Unless something else is named."""
        return (self.image, self.features, self.text, self.shape) == (None,) * 4 and self.target != "response"

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Every option that names a column, with the column."""
        options = ("id", "split", "group", "clean_label", "weights", "image", "text_b")
        named = [("label", self.label_column), *((option, getattr(self, option)) for option in options)]
        named += [("text", name) for name in self.texts] + [("features", name) for name in self.features or ()]
        return tuple((option.replace("_", "-"), name) for option, name in named if name is not None)

    @property
    def label_column(self) -> str | None:
        """None where the format of fine-tuning data says where the answers stand."""
        return None if self.target == "response" and self.label == "label" else self.label

    def named_in(self, names: list[str]) -> tuple[tuple[str, str], ...]:
        """With columns of text put together again, and the columns of labels that one name names."""
        labels = label_columns(self.label, names) if self.target == "labels" else ()
        joined = {"text": named_columns(self.texts, names)} | ({"label": labels} if labels else {})
        others = tuple((option, name) for option, name in self.named if option not in joined)
        return (*others, *((option, name) for option, parts in joined.items() for name in parts))

    def may_be_objects(self, name: str) -> bool:
        """Encoded images, as Hugging Face has them: bytes and path; what a language model answers and is to answer."""
        return name == self.image or self.target == "response"

    @property
    def names_say_splits(self) -> bool:
        """Unless a column does."""
        return self.split is None

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

    @property
    def weight_column(self) -> str | None:
        """As samples call it."""
        return self.weights and own_name(self.weights)

    @property
    def no_label(self) -> tuple[str, ...]:
        """Those of the option missing that may stand for no label."""
        return tuple(marker for marker in NO_LABEL if {marker, marker.replace("nan", "NaN")} & set(self.missing))

    @property
    def has_held_out_files(self) -> bool:
        """Whether an option names some."""
        return self.test_path is not None or self.reference_path is not None

    def fingerprint(self) -> str:
        """The source files, and the tokenizer."""
        files = super().fingerprint()
        with_response = self.target == "response"
        if (self.text is None and not with_response) or self.tokens.tokenizer == HASHED_WORDS:
            return files
        template = digest_in(locate(self.tokens.tokenizer, FILE)) if with_response else ""
        return f"{files} {self.tokens.tokenizer_now().digest}{template}"

    def open(self) -> tuple[Payload | TableOptions, Iterator[Chunk]]:
        """Map the columns by the first batch and stream the rest."""
        table = self.open_table()
        if (image := self.with_pictures_found(table.first)) is not None:
            inputs, chunks = self.model_copy(update={"image": image}).open()
            return inputs, with_note(chunks, found_note(image))
        if (splits := self.splits_in(table)) is not None and splits.is_taken:
            return splits.given(self.model_copy(update={"split": splits.name}).open())
        prompts = self._prompts(table.first, table.where)
        reader, first = self.model_copy(update=prompts.roles), prompts.flatten(table.first)
        mapping = prompts.told(reader.map_columns(first.table, table.where, prompts.chat, first.beside))
        inputs = mapping.payload or reader.table_options(first, table.where)
        chunks = reader._chunks(table._replace(first=first), mapping, prompts.flatten)
        return inputs, chunks if splits is None else with_note(chunks, splits.note)

    def _prompts(self, first: Batch, where: str) -> Prompts:
        """Which columns are texts, and the responses to them."""
        columns = label_columns(self.label, first.table.schema.names) if self.target == "labels" else ()
        if columns:
            flatten = partial(
                with_label_sets, columns=columns, name=self.label, separator=self.separator, markers=tuple(self.missing)
            )
            return Prompts(flatten)
        if self.features and self.image:
            return Prompts(partial(with_shown_pictures, name=self.image), {"image": None})
        if self.target != "response":
            return texts_of(first, self.texts, self.text_b, where)
        is_named = self.label != "label" or ("label" in self.model_fields_set and "label" in first.table.schema.names)
        return prompts_of(first, self.texts, self.label if is_named else None, where, self._tokens)

    def _chunks(self, table: OpenTable, mapping: Mapping, flatten: Flatten) -> Iterator[Chunk]:
        for whole in chain((table.first,), map(flatten, table.rest)):
            for batch in parts_of(whole, self.image):
                yield chunk_of(batch, mapping, self.roles, table.split)
        aside = self.model_copy(update={"split": None, "weights": None})
        for split, held_out in table.held_out:
            batch = flatten(held_out)
            aside._check_names(batch.table.schema.names, batch.source)
            for part in parts_of(batch, self.image):
                yield chunk_of(part, mapping, self.roles, split, set_aside=True)

    # ---- roles -------------------------------------------------------------------------------------------------

    def map_columns(
        self, table: pa.RecordBatch, where: str, chat: Chat | None = None, beside: Beside | None = None
    ) -> Mapping:
        """Check every named column against the source and settle the payload.

        Raises:
            BadInput: a named column is missing, the label is of floats, no column can be an input.
        """
        self._check_names(table.schema.names, where)
        told = check_labels(table.column(self.label), self.says, self.label, where)
        if self.image:
            payload, notes = self.picture_payload(table, self.image, where, beside)
            is_own = payload.columns == (own_name(self.image),)
            extra, unused = self._others(table, [self.image] if is_own else [])
            paths = {} if is_own else {self.image: "the paths of the pictures"}
            return Mapping(payload, (self.image,), extra, unused | paths, (*notes, *told))
        if self.text:
            texts = self._text_columns
            payload = text_payload(tuple(map(own_name, texts)), self.tokens.max_length, self._tokens(chat))
            return Mapping(payload, texts, *self._others(table, [*texts]), told)
        carried = {field.name: field.type for field in table.schema if field.name not in self.roles.columns}
        return Mapping(None, tuple(self.features or ()), carried, {}, told)

    def _tokens(self, chat: Chat | None) -> Tokens:
        joined = len(self.texts) if len(self.texts) > 1 else None
        return self.tokens.tokenizer_now(with_response=self.target == "response", joined=joined, chat=chat)

    def table_options(self, first: Batch, where: str) -> TableOptions:
        """What roles are settled by, once all rows are known."""
        names = [name for name in first.table.schema.names if name not in self.roles.columns]
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
            objects=first.objects,
            missing=tuple(self.missing),
            weights=self.weight_column,
        )

    def input_type(self, kind: pa.DataType, width: int) -> pa.DataType:
        """The type an input column has in every batch; formats without a schema settle on float64."""
        if is_list(kind):
            return pa.list_(input_type(kind.value_type), width)
        return input_type(kind)

    @property
    def roles(self) -> Roles:
        """The columns that are no inputs."""
        rest = (tuple(self.missing), self.no_label, self.weights)
        return Roles(self.label, self.says, self.id, self.split, self.group, self.clean_label, *rest)

    def _others(self, table: pa.RecordBatch, inputs: list[str]) -> tuple[dict[str, pa.DataType], dict[str, str]]:
        """The types of the columns that are neither inputs nor have a role, and why no network reads them."""
        assigned = {*inputs, *self.roles.columns}
        extra = {field.name: self.carried_type(field.type) for field in table.schema if field.name not in assigned}
        option = "image" if self.image else "text"
        reasons = dict.fromkeys(extra, f"not named by --reader.{option}")
        return extra, reasons | ({self.weights: WEIGHTS} if self.weights else {})

    def carried_type(self, kind: pa.DataType) -> pa.DataType:
        """The type a carried column has in every batch; formats without a schema settle on text."""
        return pa.string() if pa.types.is_null(kind) or pa.types.is_string_view(kind) else kind

    def _check_names(self, present: list[str], where: str) -> None:
        if len(set(present)) < len(present):
            raise BadInput(
                where=where,
                expected="distinct column names",
                got=shown_names(sorted({name for name in present if present.count(name) > 1})) + " more than once",
                do="Rename the columns.",
            )
        check_named((*self.named, ("label", self.label)), present, {}, where)
        check_only_weights(self.weights, (*self.named, ("label", self.label)), where)
        roles = self.roles.columns
        inputs = self.features or [*self._text_columns]
        wrong = sorted({name for name in inputs if inputs.count(name) > 1 or name in {*roles, self.image}})
        if wrong:
            raise BadInput(
                where=f"{where}, option {'text' if self.text else 'features'}",
                expected="each column once, and none that has another role",
                got=", ".join(wrong),
                do="Drop it: a label among the inputs would tell the model what it is asked.",
            )
