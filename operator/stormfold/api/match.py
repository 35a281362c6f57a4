"""Which signals a policy governs: names, severities, sources and labels."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from stormfold.api.resource import AS_SET, ApiModel, cel
from stormfold.api.signal import Severity

SelectorKey = Annotated[str, Field(min_length=1, max_length=317)]
SelectorValue = Annotated[str, Field(max_length=256)]


class SelectorOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorExpression(ApiModel):
    """One requirement on a label."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
                "values must not be empty when operator is In or NotIn",
                ".values",
            ),
            (
                (
                    "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || "
                    "size(self.values) == 0"
                ),
                "values may not be set when operator is Exists or DoesNotExist",
                ".values",
            ),
        )
    )

    key: SelectorKey
    """Name of the label."""
    operator: SelectorOperator
    """In: the label has one of the values. NotIn: it has none of them, or is missing. Exists, DoesNotExist:
    the label is there, or not."""
    values: Annotated[tuple[SelectorValue, ...], Field(max_length=32, json_schema_extra=AS_SET)] = ()
    """The values of In and NotIn."""


class Selector(ApiModel):
    """Requirements on labels, all of which must hold. Without any it matches everything."""

    match_labels: Annotated[dict[SelectorKey, SelectorValue], Field(max_length=16)] = Field(
        default_factory=dict
    )
    """Labels and the values that they must have."""
    match_expressions: Annotated[tuple[SelectorExpression, ...], Field(max_length=16)] = ()
    """Further requirements."""


class Match(ApiModel):
    """Which signals a policy governs. What is left out matches everything, but Kubernetes Events only match
    if sources is given; what is given must all hold."""

    names: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
        Field(max_length=32, json_schema_extra=AS_SET),
    ] = ()
    """Names of signals, as globs (* for any characters, ? for one): one of them must match."""
    severities: Annotated[tuple[Severity, ...], Field(max_length=5, json_schema_extra=AS_SET)] = ()
    """Severities of signals, as the signals state them."""
    sources: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=16, json_schema_extra=AS_SET)
    ] = ()
    """Sources of signals, as globs: one of them must match. The source of Kubernetes Events is event; without
    a glob for it a policy takes none of them."""
    label_selector: Selector | None = None
    """Requirements on the labels in the spec of a signal."""
    namespace_selector: Selector | None = None
    """Requirements on the labels of the namespace in which a signal lies."""
