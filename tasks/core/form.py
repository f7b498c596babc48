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
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Form(BaseModel):
    """A configuration whose run form shows the fields that matter first, and the others in a group ``advanced``.

    A configuration may be written as it is or as the form writes it. On the command line and in files of ours it is
    flat; only its JSON schema, and what a default or a flow run's parameters look like in JSON, have the group. The
    form fills the group with defaults, whatever a deployment says flat beside it: what it says counts then.
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
        later = {name: flat.pop(name) for name in self.later() if name in flat}
        return {name: flat[name] for name in self.first if name in flat} | {"advanced": later}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # As it is validated: what is written by a serializer has no schema of its own.
        schema = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core, handler))
        properties = schema["properties"]
        group = {name: properties.pop(name) for name in cls.later()}
        schema["properties"] = {name: properties[name] for name in cls.first} | {
            "advanced": {
                "type": "object",
                "title": "Advanced",
                "description": "All else; the defaults are what the README measures.",
                "properties": group,
                "additionalProperties": False,
            }
        }
        # Written flat it is right as well, but not shown twice.
        schema["patternProperties"] = {f"^({'|'.join(group)})$": {}}
        return schema

    def yaml(self) -> str:
        """This configuration as YAML, for ``--config``; the lake is where the run happens to be, and no part of it."""
        values = self.model_dump(mode="json", exclude={"lake"}, context={"flat": True})
        return yaml.safe_dump(values, sort_keys=False)
