"""A component is its configuration: a frozen model whose fields are its options, whose one method is its behaviour.

A *registry* is a folder of modules, each with one or more components. To add one is to add a file: the registry finds
it, and with it come the drop-down in the run form, the options on the command line and the conformance tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict

from tasks.core.form_schema import by_kind, option_words


class Component(BaseModel):
    """Base of every exchangeable component; one that can be chosen says its name: ``class L2(Detector, kind="l2")``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            # Before pydantic looks for the fields: a name that is both the only value and the default.
            cls.__annotations__["kind"] = Literal[kind]
            cls.kind = kind  # type: ignore[attr-defined]

    def fingerprint(self) -> str:
        """Digest of whatever outside the options decides this component's results (files it reads, code it loads)."""
        return ""


P = TypeVar("P", bound=Component)


class Registry(Generic[P]):
    """The components found in one package, by kind.

    Discovery is lazy, so that a registry's ``__init__`` can define the base class its own modules import.
    """

    def __init__(self, package: str, base: type[P]) -> None:
        self.package, self.base = package, base

    @cached_property
    def components(self) -> dict[str, type[P]]:
        """Every concrete component, by its ``kind``, in alphabetical order of kinds."""
        components: dict[str, type[P]] = {}
        package = importlib.import_module(self.package)
        for module_info in pkgutil.iter_modules(package.__path__, f"{self.package}."):
            module = importlib.import_module(module_info.name)
            for member in vars(module).values():
                own = isinstance(member, type) and member.__module__ == module.__name__
                if not own or not issubclass(member, self.base):
                    continue
                kind = member.model_fields["kind"].default
                if not isinstance(kind, str):
                    continue  # a base class of several components of one file
                if not (member.__doc__ or "").strip():
                    raise TypeError(
                        f"{member.__qualname__} needs a docstring: --help shows its first line ({module.__file__})"
                    )
                if kind in components:
                    names = f"{member.__qualname__} and {components[kind].__qualname__}"
                    raise TypeError(f"{names} are both called {kind!r}")
                components[kind] = member
        return dict(sorted(components.items()))


class Choice(BaseModel, Generic[P]):
    """A component chosen by name, as it stands in a flow's parameters.

    Prefect's run form handles unions of models badly (it submits the other member's fields), so the form sees a
    drop-down ``kind`` and a box of ``options``, which Prefect's server checks by the kind before a run is made, as
    they are validated into the component once more when the choice is made. Options that everybody needs may stand
    ``beside`` them. Written shorter, a bare name (``"l2"``) or a flat mapping (``{"kind": "csv", "path": "a.csv"}``)
    mean the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    registry: ClassVar[Registry[Any]]
    beside: ClassVar[dict[str, str]] = {}
    """Options that the form shows beside the kind, with what they mean for whichever kind has them."""

    kind: str = Field(description="Which one.")
    options: dict[str, Any] = Field(default_factory=dict, description="Its options; the README lists them by kind.")

    def __init_subclass__(cls, registry: Registry[Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if registry is not None:
            cls.registry = registry

    @classmethod
    def __pydantic_init_subclass__(cls, registry: Registry[Any] | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)

        def drop_down(schema: JsonDict) -> None:
            properties = cast("JsonDict", schema["properties"])
            components = registry.components if registry else {}
            cast("JsonDict", properties["kind"])["enum"] = list(components)
            default = cls.model_fields["kind"].get_default()
            fields: JsonDict = {
                name: {"type": "string", "title": name.replace("_", " ").title(), "description": words}
                for name, words in cls.beside.items()
            }
            properties |= fields | {"options": properties.pop("options")}
            words = option_words(components, tuple(cls.beside))
            cast("JsonDict", properties["options"]).update(default={}, description=words)
            schema["title"] = cls.__name__.removesuffix("Choice")  # which Prefect's second UI shows for the field's
            schema.update(by_kind(components, default if isinstance(default, str) else None, tuple(cls.beside)))

        if registry is not None:
            cls.model_config["json_schema_extra"] = drop_down

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, Component):
            value = value.model_dump(mode="json")
        if not isinstance(value, dict):
            return value
        # What the form left empty says nothing.
        value = {name: each for name, each in value.items() if name not in cls.beside or each not in (None, "")}
        if "options" not in value:
            default = cls.model_fields["kind"].get_default()
            kind = value.pop("kind", default if isinstance(default, str) else None)
            return ({} if kind is None else {"kind": kind}) | {"options": value}
        return cls._with_options_inside(value)

    @classmethod
    def _with_options_inside(cls, value: dict[str, Any]) -> dict[str, Any]:
        """What stands beside the options, among them."""
        given = {name: value.pop(name) for name in cls.beside if name in value}
        options = value["options"]
        for name in given.keys() & options.keys() if given else ():
            if given[name] != options[name]:
                raise ValueError(f"{name}: expected once, got {given[name]} and, among the options, {options[name]}")
        return value | ({"options": options | given} if given else {})

    @model_validator(mode="after")
    def _options_fit_the_component(self) -> Choice[P]:
        if self.kind not in self.registry.components:
            kinds = ", ".join(self.registry.components)
            raise ValueError(f"{self.kind!r} is not one of: {kinds}")
        try:
            self.component  # noqa: B018  building it is the check
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{self.kind}: {problems}") from error
        return self

    def __repr__(self) -> str:
        return f"{self.kind} {self.options}" if self.options else self.kind

    @property
    def component(self) -> P:
        """The component itself, built from its options."""
        return cast("P", self.registry.components[self.kind](**self.options))
