"""Packing: commands of redis-py's connections are packed by hiredis."""

from typing import Any

import hiredis


class PackedInC:
    """Mixin for redis-py's connections.

    redis-py's asyncio half packs in Python, argument by argument, and a fold has many (docs/decisions/0010).
    """

    def pack_command(self, *args: str | int | float | bytes) -> list[bytes]:
        """The bytes of one command; a name of two words, as in `CONFIG GET`, becomes two arguments."""
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        words = name.split() if isinstance(name, bytes) else [name]
        return [hiredis.pack_command((*words, *args[1:]))]


def packed_in_c(connection_class: type[Any]) -> type[Any]:
    """A class of connections with the mixin."""
    if issubclass(connection_class, PackedInC):
        return connection_class
    return type(f"PackedInC{connection_class.__name__}", (PackedInC, connection_class), {})
