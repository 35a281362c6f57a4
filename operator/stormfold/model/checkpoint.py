"""Checkpoint: how far Signals and Events are durable, as the leader says it on its Lease."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a stream is durable."""

    resource_version: int = 0
    """Everything up to it is."""
    created_before: int = 0
    """What was created before this time, by the API server's clock, had a resourceVersion up to the
    checkpoint at its creation; Unix seconds."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How far each stream is durable; resourceVersions of Signals and of Events cannot be compared."""

    signals: Checkpoint = Checkpoint()
    events: Checkpoint = Checkpoint()
