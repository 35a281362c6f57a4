"""What is wrong with a value of a resource or a setting, in plain words: pydantic's errors, said our way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stormfold.api.duration import PATTERN as DURATION

NAMESPACE_NAME = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""Of a field that names a namespace; it has at most 63 characters."""

FORMS = {
    DURATION: "must be a duration such as 90s, 5m or 1h30m",
    NAMESPACE_NAME: "must be the name of a namespace: lower-case letters, digits and hyphens",
}
"""Pattern → what a value of that form is."""

RULES = {
    "missing": "must be set",
    "string_type": "must be a text in quotation marks",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list",
    "dict_type": "must be an object with fields",
    "model_type": "must be an object with fields",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "datetime_type": "must be a time such as 2026-03-01T11:00:00Z",
    "datetime_parsing": "must be a time such as 2026-03-01T11:00:00Z",
    "datetime_from_date_parsing": "must be a time such as 2026-03-01T11:00:00Z",
    "timezone_aware": "must be a time with a zone, such as 2026-03-01T11:00:00Z",
}
"""Type of pydantic's error → what the value must be."""

LONGEST_SHOWN = 63
"""Characters of a value, or of a part of its path, that a message repeats."""


def first_fault(exc: ValidationError) -> str:
    """The first thing that is wrong, where, and what to write: `priority: must be 0 or more, not -1`."""
    first = exc.errors(include_url=False)[0]
    return f"{_path(first['loc'])}: {in_words(first)}"


def in_words(error: ErrorDetails, forms: Mapping[str, str] = FORMS) -> str:
    """What the value must be, and what it is: `must be 65535 or less, not '99999'`.

    `forms` says what values are that must match a pattern. An error of a type without a rule keeps its words.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return forms.get(context["pattern"], f"must match {context['pattern']}") + _instead(error)
    if context.get("min_length") == 1:
        return "must not be empty"
    if kind not in RULES:
        return error["msg"]
    numbers = {name: _whole(value) for name, value in context.items()}
    return RULES[kind].format(**numbers) + _instead(error)


def _whole(value: Any) -> Any:
    """300.0 as 300."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _instead(error: ErrorDetails) -> str:
    """What the value is, if that is short; of one that is too long, how long. A URL may hold a password."""
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return ""
    if kind in {"string_too_long", "too_long"}:
        return f", not {len(value)}"
    shown = repr(value) if isinstance(value, str) and "://" not in value else _as_json(value)
    return f", not {shown}" if 0 < len(shown) <= LONGEST_SHOWN else ""


def _as_json(value: Any) -> str:
    """A number, true, false or null as JSON has it; empty for all else."""
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else ""


def _path(location: tuple[int | str, ...]) -> str:
    """Where the value is: `holds[0].until`. If the key of an entry is wrong, it ends in `(key)`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part == "[key]":
            path += " (key)"
        else:
            path += ("." if path else "") + part[:LONGEST_SHOWN]
    return path
