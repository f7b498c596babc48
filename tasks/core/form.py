"""A configuration whose run form shows first what matters first."""

from __future__ import annotations

from typing import Any, ClassVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tasks.core.form_schema import bullets, json_box, named_or_whole, without_none


class Form(BaseModel):
    """A configuration whose run form shows the fields that matter first, and the others in a group ``advanced``.

    A configuration may be written as it is or as the form writes it. On the command line and in files of ours it is
    flat; only its JSON schema, and what a default or a flow run's parameters look like in JSON, have the group. The
    form shows the group as one box of JSON, which has only what differs from the defaults, and which Prefect's server
    checks word by word before a run is made (``form_schema.py``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    first: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def later(cls) -> list[str]:
        """Names of the fields in the group."""
        return [name for name in cls.model_fields if name not in cls.first]

    @model_validator(mode="before")
    @classmethod
    def _out_of_the_group(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("advanced"), dict):
            return value
        flat = {name: option_value for name, option_value in value.items() if name != "advanced"}
        for name, option_value in value["advanced"].items():
            if name not in cls.later() or (name in flat and not cls._is_default(name, option_value)):
                raise ValueError(f"advanced.{name}: expected one of {', '.join(cls.later())}, each once")
            flat.setdefault(name, option_value)
        return flat

    @classmethod
    def _is_default(cls, name: str, value: Any) -> bool:
        try:
            return cls.model_validate({name: value}) == cls()
        except ValidationError:
            return False

    @model_serializer(mode="wrap")
    def _into_the_group(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        flat = handler(self)
        if info.mode != "json" or (info.context or {}).get("flat"):
            return flat
        usual = handler(type(self)())
        later = {name: flat[name] for name in self.later() if name in flat and flat[name] != usual[name]}
        return {name: flat[name] for name in self.first if flat.get(name) is not None} | {"advanced": later}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # As it is validated: what is written by a serializer has no schema of its own.
        schema = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core, handler))
        properties = schema["properties"]
        group = {name: named_or_whole(properties.pop(name), handler.resolve_ref_schema) for name in cls.later()}
        words = 'All else, as JSON, `{"folds": 3, "training": {"epochs": 20}}` for example. '
        box = json_box(group) | {"title": "Advanced", "description": words + cls._group_words()}
        schema["properties"] = {name: properties[name] for name in cls.first} | {"advanced": box}
        # Written flat it is right as well, but not shown twice.
        schema["patternProperties"] = box["patternProperties"]
        schema["propertyNames"] = {"enum": [*schema["properties"], *group]}
        schema.pop("additionalProperties", None)  # of a wrong name it says only that no pattern fits
        without_none(schema)
        return schema

    @classmethod
    def _group_words(cls) -> str:
        """What may stand in the box, as Markdown."""
        lines = [
            f"{name}{_value_words(cls.model_fields[name])}: {cls.model_fields[name].description}"
            for name in cls.later()
        ]
        return f"What there is, with its default or its options:{bullets(lines)}"

    def yaml(self) -> str:
        """This configuration as YAML, for ``--config``; the lake is where the run happens to be, and no part of it."""
        values = self.model_dump(mode="json", exclude={"lake"}, context={"flat": True})
        return yaml.safe_dump(values, sort_keys=False)


def _value_words(field: FieldInfo) -> str:
    """A default or, of a group, the names of what is in it; of a choice, the kinds there are."""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        registry = getattr(type(default), "registry", None)
        return f" ({', '.join(registry.components if registry else type(default).model_fields)})"
    if isinstance(default, list) and default and isinstance(default[0], BaseModel):
        return f" ({', '.join(map(repr, default))})"
    return "" if default is None else f" (`{default}`)"
