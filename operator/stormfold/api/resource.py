"""What all kinds share: group and version, the base of the models, an object's metadata, bounded field types,
CEL rules."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

GROUP = "stormfold.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_INT = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

Count = Annotated[int, Field(ge=0, le=MAX_INT)]
Namespace = Annotated[str, Field(max_length=63)]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class ApiModel(BaseModel):
    """A frozen piece of a resource: snake_case here, camelCase on the wire.

    What a newer CRD adds is ignored, so that an older operator goes on reading. The docstring under a field
    is its text in `kubectl explain`.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        frozen=True,
        extra="ignore",
    )

    def manifest(self) -> dict[str, Any]:
        """The JSON object as the API server takes it: camelCase, times as RFC 3339 text, without absent
        fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(ApiModel):
    """The part of an object's metadata that stormfold reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


IDENTITY = (
    "name",
    "namespace",
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)


def identity_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """What an object's metadata say of which object it is. The rest may be a megabyte: whoever may write the
    object may write as many annotations, labels and managedFields."""
    return {key: metadata[key] for key in IDENTITY if key in metadata}


class Resource(ApiModel):
    """An object of one of stormfold's kinds; the class name is the kind."""

    plural: ClassVar[str]
    namespaced: ClassVar[bool] = True

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)


def cel(*rules: tuple[str, str, str]) -> JsonDict:
    """The schema extension that makes the API server check CEL rules, each (rule, message, path of the field
    at fault or '')."""
    return {
        "x-kubernetes-validations": [
            {"rule": rule, "message": message, **({"fieldPath": path} if path else {})}
            for rule, message, path in rules
        ]
    }


AS_SET: JsonDict = {"x-kubernetes-list-type": "set"}
"""Schema extension of a list in which no value may come twice."""


ATOMIC: JsonDict = {"x-kubernetes-map-type": "atomic"}
"""Schema extension of an object that server-side apply takes as one value, with one owner."""


def as_map(key: str) -> JsonDict:
    """Schema extension of a list in which no two entries have the same `key`; server-side apply then merges
    entry by entry."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
