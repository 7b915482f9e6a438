"""A small JSON Schema validator: the keywords of the model's schema; any other is a KeyError."""

import operator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
NOTES = {"title", "description", "default", "$defs", "$schema"}


def valid(value: object, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether `value` fits `schema`; `root` holds the definitions."""
    return all(_fits(key, rule, value, schema, root) for key, rule in schema.items())


def _fits(key: str, rule: Any, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if key in NOTES or key == "discriminator":
        return True
    if key == "$ref":
        return valid(value, root["$defs"][rule.rsplit("/", 1)[1]], root)
    if key == "type":
        wrong_bool = isinstance(value, bool) and rule != "boolean"
        return isinstance(value, TYPES[rule]) and not wrong_bool
    if key in ("anyOf", "oneOf"):
        fitting = sum(valid(value, option, root) for option in rule)
        return fitting == 1 if key == "oneOf" else fitting > 0
    if key in ("const", "enum"):
        return value in (rule if key == "enum" else [rule])
    if key in ("properties", "additionalProperties", "required", "maxProperties"):
        return not isinstance(value, dict) or _fits_object(key, rule, value, schema, root)
    if key in ("prefixItems", "items", "minItems", "maxItems"):
        return not isinstance(value, list) or _fits_list(key, rule, value, root)
    if key in ("minLength", "maxLength"):
        long = len(value) if isinstance(value, str) else rule
        return long >= rule if key == "minLength" else long <= rule
    return _fits_number(key, rule, value)


def _fits_object(
    key: str, rule: Any, value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]
) -> bool:
    properties = schema.get("properties", {})
    if key == "properties":
        return all(valid(v, properties[k], root) for k, v in value.items() if k in properties)
    if key == "required":
        return set(rule) <= set(value)
    if key == "maxProperties":
        return len(value) <= int(rule)
    rest = [v for k, v in value.items() if k not in properties]
    return not rest if rule is False else all(valid(v, rule, root) for v in rest)


def _fits_list(key: str, rule: Any, value: list[Any], root: dict[str, Any]) -> bool:
    if key == "prefixItems":
        return all(valid(v, r, root) for v, r in zip(value, rule, strict=False))
    if key == "items":
        return all(valid(v, rule, root) for v in value)
    return len(value) >= rule if key == "minItems" else len(value) <= rule


def _fits_number(key: str, rule: Any, value: Any) -> bool:
    compare = {
        "minimum": operator.ge,
        "maximum": operator.le,
        "exclusiveMinimum": operator.gt,
        "exclusiveMaximum": operator.lt,
    }[key]
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True  # `type` says no
    return bool(compare(value, rule))
