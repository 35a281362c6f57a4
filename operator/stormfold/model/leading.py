"""Leading: what all rooms ask about who takes Signals and Events in, which is one replica for all."""

from typing import Protocol


class Leader(Protocol):
    """This process, which may lead."""

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours, with time left: this process speaks for all."""

    def fenced(self) -> int | None:
        """The resourceVersion up to which all Signals are durable, as our Lease says; None while it is not
        ours."""

    def trim(self) -> int:
        """The resourceVersion up to which Redis may forget ids; 0 is none."""
