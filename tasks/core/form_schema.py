"""JSON schemas as Prefect's run form reads them: what it shows, and what its server checks without showing it.

The form shows ``properties`` and ``description`` and knows neither ``patternProperties`` nor ``if``; the server that
creates a run validates by all of them. So an object without ``properties`` is one box of JSON whose words are checked
all the same. A description is Markdown, of which the form makes a line of every single line break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
# What no check reads; and what a component's own validator may allow where the field's type does not (a tab by name).
_SILENT = ("title", "description", "default", "maxLength")
# Kinds with so many options have most of them in common.
_MANY = 8


def bullets(lines: Iterable[str]) -> str:
    """A list in Markdown; an empty line before each point keeps the points apart in the form.

    Nothing is bold: Prefect's second UI shows descriptions as they are written.
    """
    return "".join(f"\n\n- {line}" for line in lines)


def json_box(fields: Mapping[str, Schema]) -> Schema:
    """The keywords that make an object one box of JSON with these fields and no others."""
    return {
        "type": "object",
        "default": {},
        "patternProperties": {f"^{name}$": schema for name, schema in fields.items()},
        "propertyNames": {"enum": list(fields)},
    }


def without_none(schema: Schema) -> None:
    """Show a field that may be left empty as what it is when it is not; Prefect's server takes null for it as well."""
    for name, field in schema.get("properties", {}).items():
        kinds = field.get("anyOf", [])
        some = [kind for kind in kinds if kind.get("type") != "null"]
        if len(some) == 1 < len(kinds):
            kept = {key: value for key, value in field.items() if key != "anyOf" and not _is_none(key, value)}
            schema["properties"][name] = kept | some[0]


def _is_none(key: str, value: Any) -> bool:
    return key == "default" and value is None


def hidden(*names: str) -> Callable[[Schema], None]:
    """For ``json_schema_extra``: fields the form does not show and a run's parameters may have."""

    def hide(schema: Schema) -> None:
        unseen = {name: schema["properties"].pop(name) for name in names}
        schema["patternProperties"] = {f"^{name}$": field for name, field in unseen.items()}
        without_none(schema)

    return hide


def named_or_whole(schema: Schema, resolve: Callable[[Schema], Schema]) -> Schema:
    """A list of choices, each of which may be a bare name."""
    items = schema.get("items")
    if not isinstance(items, dict) or "$ref" not in items:
        return schema
    kind = resolve(items).get("properties", {}).get("kind")
    if kind is None:
        return schema
    return schema | {"items": {"if": {"type": "string"}, "then": {"enum": kind["enum"]}, "else": items}}


def option_words(components: Mapping[str, type[BaseModel]], shown: tuple[str, ...]) -> str:
    """Which options which kind has, as Markdown; those that all kinds of many options share are said once."""
    options = {
        kind: [name for name in component.model_fields if name not in ("kind", *shown)]
        for kind, component in components.items()
    }
    rich = {kind: names for kind, names in options.items() if len(names) > _MANY}
    shared = [name for name in next(iter(rich.values()), []) if all(name in names for names in rich.values())]
    lines = []
    if len(rich) > 1 and len(shared) > 1:
        lines.append(f"{', '.join(rich)}: {', '.join(shared)}")
        options |= {kind: [name for name in names if name not in shared] for kind, names in rich.items()}
    lines += [
        f"{kind}{' also' if kind in rich and lines else ''}: {', '.join(names)}"
        for kind, names in options.items()
        if names
    ]
    return f"Its options, as JSON, by kind:{bullets(lines)}" if lines else "Its options, as JSON; no kind has any."


def by_kind(components: Mapping[str, type[BaseModel]], default: str | None, shown: tuple[str, ...]) -> Schema:
    """Keywords that check the options of a choice by its kind.

    Args:
        components: by kind.
        default: the kind where none is said.
        shown: options that stand beside the kind, where a kind has them.
    """
    found = {kind: deepcopy(_check_of(component, shown)) for kind, component in components.items()}
    shared = _shared([_options_of(check) for check in found.values()])
    checks: Schema = {}
    # The default comes first, that is outermost: where no kind is said every condition holds.
    for kind in sorted(components, key=lambda kind: kind == default):
        check, fields = found[kind], _options_of(found[kind])
        for name in fields.keys() & shared.keys():
            del fields[name]
        checks = {"if": {"properties": {"kind": {"const": kind}}}, "then": check} | ({"else": checks} if checks else {})
    return checks | ({"patternProperties": {"^options$": {"properties": shared}}} if shared else {})


def _options_of(check: Schema) -> Schema:
    """The schemas of a kind's options, in its check."""
    return check["properties"]["options"].get("properties", {})


def _shared(kinds: list[Schema]) -> Schema:
    """Options that several kinds have with the same schema. A server looks through all of a form for each run."""
    schemas: dict[str, list[Schema]] = {}
    for options in kinds:
        for name, schema in options.items():
            schemas.setdefault(name, []).append(schema)
    return {name: same[0] for name, same in schemas.items() if len(same) > 1 and all(one == same[0] for one in same)}


@cache  # Prefect asks twice whenever it imports a flow, and twice more for each of its deployments
def _check_of(component: type[BaseModel], shown: tuple[str, ...]) -> Schema:
    schema = component.model_json_schema()
    definitions = schema.get("$defs", {})
    fields = {name: _bare(field, definitions) for name, field in schema["properties"].items() if name != "kind"}
    needed = [name for name in schema.get("required", []) if name != "kind"]
    beside = {name: fields.get(name, {"maxLength": 0}) for name in shown}
    options: Schema = {"properties": fields, "propertyNames": {"enum": list(fields)}}
    if not fields:
        options = {"maxProperties": 0}
    only_inside = [name for name in needed if name not in shown]
    check: Schema = {"properties": beside | {"options": options | ({"required": only_inside} if only_inside else {})}}
    if only_inside:
        check["required"] = ["options"]
    either = [_beside_unless_inside(name) for name in needed if name in shown]
    return check | ({"allOf": either} if either else {})


def _beside_unless_inside(name: str) -> Schema:
    inside = {"required": ["options"], "properties": {"options": {"required": [name]}}}
    return {"if": {"not": inside}, "then": {"required": [name]}}


def _bare(schema: Any, definitions: Schema) -> Any:
    """A field's schema with what it refers to in it, and without what no check reads."""
    if isinstance(schema, list):
        return [_bare(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _bare(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    some = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(some) == 1 and isinstance(some[0].get("type"), str):
        # One type, or null: a wrong value is then told by its type.
        schema = some[0] | {"type": [some[0]["type"], "null"]}
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    bare = {key: _bare(value, definitions) for key, value in schema.items() if key not in (*_SILENT, "properties")}
    # A field may be called title.
    fields = {name: _bare(field, definitions) for name, field in schema.get("properties", {}).items()}
    return bare | ({"properties": fields} if fields else {})
