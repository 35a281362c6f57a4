"""What is wrong with a value is said in plain words, for every field that somebody else writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from stormfold.api.remediationrequest import Remediation
from stormfold.api.signal import SignalSpec
from stormfold.api.stormgate import StormGateSpec
from stormfold.api.stormpolicy import PolicySpec
from stormfold.api.value_errors import FORMS, RULES, first_fault, in_words
from stormfold.settings import FORMS as FORMS_OF_SETTINGS
from stormfold.settings import Settings

MODELS: tuple[type[BaseModel], ...] = (PolicySpec, StormGateSpec, SignalSpec, Remediation)
VALUES: tuple[Any, ...] = (
    *(None, True, 1.5, -1, 10**30, "", " ", "a" * 5000, "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"),
    *([], [None], [""], ["a" * 5000], ["a"] * 101, [{}], {}, {"": ""}, {"a" * 5000: "high"}, {"a": 1}),
)


def said(model: type[BaseModel], body: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as found:
        model.model_validate(body)
    return first_fault(found.value)


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        (PolicySpec, {"groupBy": []}, "groupBy: must not be empty"),
        (PolicySpec, {"groupBy": ["name"] * 9}, "groupBy: must have at most 8 entries, not 9"),
        (PolicySpec, {"groupBy": "name"}, "groupBy: must be a list, not 'name'"),
        (PolicySpec, {"priority": "high"}, "priority: must be a whole number, not 'high'"),
        (PolicySpec, {"priority": 1.5}, "priority: must be a whole number, not 1.5"),
        (PolicySpec, {"priority": -1}, "priority: must be 0 or more, not -1"),
        (PolicySpec, {"priority": 2_000_000}, "priority: must be 1000000 or less, not 2000000"),
        (PolicySpec, {"closeOn": "Never"}, "closeOn: must be 'Auto', 'Recovered' or 'Quiet', not 'Never'"),
        (
            PolicySpec,
            {"window": {"idle": "1 minute"}},
            "window.idle: must be a duration such as 90s, 5m or 1h30m, not '1 minute'",
        ),
        (PolicySpec, {"window": "1m"}, "window: must be an object with fields, not '1m'"),
        (
            PolicySpec,
            {"requestNamespace": "Ops"},
            (
                "requestNamespace: must be the name of a namespace: lower-case letters, digits and hyphens, "
                "not 'Ops'"
            ),
        ),
        (PolicySpec, {"severityMap": {"P0": "bad"}}, "severityMap.P0: must be 'critical', 'high', "),
        (PolicySpec, {"severityMap": {"a" * 64: "high"}}, f"severityMap.{'a' * 63} (key): must have at most"),
        (StormGateSpec, {"holds": [{"by": "a"}]}, "holds[0].reason: must be set"),
        (
            StormGateSpec,
            {"holds": [{"by": "a", "reason": "b", "until": "tomorrow"}]},
            "holds[0].until: must be a time such as 2026-03-01T11:00:00Z, not 'tomorrow'",
        ),
        (
            StormGateSpec,
            {"holds": [{"by": "a", "reason": "b", "until": "2026-03-01T11:00:00"}]},
            "holds[0].until: must be a time with a zone, such as 2026-03-01T11:00:00Z, not ",
        ),
        (SignalSpec, {"name": 5}, "name: must be a text in quotation marks, not 5"),
        (SignalSpec, {"name": None}, "name: must be a text in quotation marks, not null"),
        (SignalSpec, {"name": "a" * 254}, "name: must have at most 253 characters, not 254"),
    ],
)
def test_fault_says_where_what_must_be_there_and_what_is(
    model: type[BaseModel], body: dict[str, Any], message: str
) -> None:
    found = said(model, body)
    assert found.startswith(message)
    assert found == message or message.endswith((", ", "not ", "at most"))


def wrong(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Bodies in which one field, at any depth, has a value that may be wrong."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        for value in VALUES:
            yield {key: value}
        for part in _models(field.annotation):
            for inner in wrong(part):
                yield {key: inner}
                yield {key: [inner]}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


@pytest.mark.parametrize("model", MODELS)
def test_no_error_of_a_field_keeps_the_words_of_pydantic(model: type[BaseModel]) -> None:
    kinds = set()
    for body in wrong(model):
        try:
            model.model_validate(body)
        except ValidationError as exc:
            for error in exc.errors():
                kinds.add(error["type"])
                words = in_words(error)
                assert words.startswith("must "), (body, words)
                assert len(words) < 250, words
    assert len(kinds) > 3
    assert kinds <= {*RULES, "string_pattern_mismatch"}


def test_each_pattern_of_a_field_or_setting_has_words() -> None:
    patterns = set()
    for model in (PolicySpec, StormGateSpec, SignalSpec):
        for body in wrong(model):
            try:
                model.model_validate(body)
            except ValidationError as exc:
                patterns |= {
                    error["ctx"]["pattern"] for error in exc.errors() if "pattern" in error.get("ctx", {})
                }
    assert patterns == set(FORMS)
    with pytest.raises(ValidationError) as found:
        Settings(
            namespace="A",
            terminal_phases=frozenset({"!"}),
            notify_alertmanager_url=frozenset({"http://u:p@h"}),
        )
    assert [in_words(error, FORMS_OF_SETTINGS) for error in found.value.errors()] == [
        "must be the name of a namespace: lower-case letters, digits and hyphens, not 'A'",
        "must be http://host:port or https://host:port, without user, password and query",
        "must be phases of letters, digits, spaces and - _ . with commas between them, not '!'",
    ]
