"""A part is its configuration: a frozen model whose fields are its options and whose one method is its behaviour.

A *family* is a folder of modules, each with one or more parts. To add a part is to add a file: the family finds it,
and with it come the drop-down in the run form, the options on the command line and the conformance tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict


class Component(BaseModel):
    """Base of every exchangeable part. Subclasses declare ``kind: Literal["name"] = "name"``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def fingerprint(self) -> str:
        """Digest of whatever outside the options decides this part's results (files it reads, code it loads)."""
        return ""


P = TypeVar("P", bound=Component)


class Registry(Generic[P]):
    """The parts found in one package, by kind.

    Discovery is lazy, so that a family's ``__init__`` can define the base class its own modules import.
    """

    def __init__(self, package: str, base: type[P]) -> None:
        self.package, self.base = package, base

    @cached_property
    def parts(self) -> dict[str, type[P]]:
        """Every concrete part, by its ``kind``, in alphabetical order of kinds."""
        found: dict[str, type[P]] = {}
        package = importlib.import_module(self.package)
        for module_info in pkgutil.iter_modules(package.__path__, f"{self.package}."):
            module = importlib.import_module(module_info.name)
            for part in vars(module).values():
                if isinstance(part, type) and issubclass(part, self.base) and part.__module__ == module.__name__:
                    kind = part.model_fields["kind"].default
                    if not isinstance(kind, str):
                        continue  # a base class of several parts of one file
                    if kind in found:
                        raise TypeError(f"{part.__qualname__} and {found[kind].__qualname__} are both called {kind!r}")
                    found[kind] = part
        return dict(sorted(found.items()))


class Choice(BaseModel, Generic[P]):
    """A part chosen by name, as it stands in a flow's parameters.

    Prefect's run form handles unions of models badly (it submits the other member's fields), so the form sees a
    drop-down ``kind`` and free ``options``; the options are validated into the part as soon as the choice is made.
    Written shorter, a bare name (``"l2"``) or a flat mapping (``{"kind": "csv", "path": "a.csv"}``) mean the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: ClassVar[Registry[Any]]

    kind: str = Field(description="Which one.")
    options: dict[str, Any] = Field(default_factory=dict, description="Its options; the README lists them by kind.")

    def __init_subclass__(cls, family: Registry[Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if family is not None:
            cls.family = family

    @classmethod
    def __pydantic_init_subclass__(cls, family: Registry[Any] | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)

        def drop_down(schema: JsonDict) -> None:
            properties = cast("JsonDict", schema["properties"])
            parts = family.parts if family else {}
            cast("JsonDict", properties["kind"])["enum"] = list(parts)
            named = {kind: [name for name in part.model_fields if name != "kind"] for kind, part in parts.items()}
            # The form shows Markdown.
            listed = "".join(f"\n- **{kind}**: {', '.join(names)}" for kind, names in named.items() if names)
            cast("JsonDict", properties["options"])["description"] = f"Its options, as JSON. By kind:\n{listed}"

        if family is not None:
            cls.model_config["json_schema_extra"] = drop_down

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, Component):
            value = value.model_dump(mode="json")
        if isinstance(value, dict) and "options" not in value:
            value = dict(value)
            default = cls.model_fields["kind"].get_default()
            kind = value.pop("kind", default if isinstance(default, str) else None)
            return ({} if kind is None else {"kind": kind}) | {"options": value}
        return value

    @model_validator(mode="after")
    def _options_fit_the_part(self) -> Choice[P]:
        if self.kind not in self.family.parts:
            known = ", ".join(self.family.parts)
            raise ValueError(f"{self.kind!r} is not one of: {known}")
        try:
            self.part  # noqa: B018  building it is the check
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{self.kind}: {problems}") from error
        return self

    def __repr__(self) -> str:
        return f"{self.kind} {self.options}" if self.options else self.kind

    @property
    def part(self) -> P:
        """The part itself, built from its options."""
        return cast("P", self.family.parts[self.kind](**self.options))
