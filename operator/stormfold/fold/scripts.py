"""The Lua scripts, each put together from its parts and held to its header.

`-- @include name` stands for `lua/include/name.lua`, once in a script. A name of `model.limits` stands for
its number.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import Protocol

from redis.exceptions import NoScriptError

from stormfold.model import limits

NAMES = ("fold", "claim", "ack", "freeze", "close", "try")
ASKS_WHO = "redis.call('INFO', 'server')"
LUA = files("stormfold.fold") / "lua"


class Client(Protocol):
    """What a script needs of redis-py's clients, single or Cluster."""

    async def execute_command(self, *args: str | int | bytes) -> object:
        """Send one command to the server that owns its keys."""


@dataclass(frozen=True)
class Script:
    """One Lua script and what its header promises."""

    name: str
    body: str
    keys: int
    """How many KEYS the header names."""
    repeated_keys: int
    """How many of the last of them come again for each further storm; 0: none do."""

    @cached_property
    def sha(self) -> str:
        """The name under which a server keeps the script."""
        return sha1(self.body.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def blind(self) -> "Script":
        """The same for a server that does not say who it is: to it, all servers are one, and none has failed
        over."""
        return replace(self, body=self.body.replace(ASKS_WHO, "'run_id:0000'"))

    async def __call__(self, client: Client, keys: list[str], args: list[str | int]) -> object:
        """Run it: one call to the server that owns the keys; a server that has forgotten it learns it anew.

        Raises redis-py's exceptions: `store_errors` translates them.
        """
        extra = len(keys) - self.keys
        if extra % self.repeated_keys if self.repeated_keys else extra:
            raise ValueError(f"{self.name}.lua takes {self.keys} keys, not {len(keys)}")
        try:
            return await client.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.execute_command("EVAL", self.body, len(keys), *keys, *args)


def header(body: str) -> str:
    """The comment that opens a script."""
    match = re.match(r"#!lua(?: flags=\S+)?\n--\[\[\n(.*?)\n\]\]\n", body, re.DOTALL)
    if not match:
        raise ValueError("a script begins with #!lua and its header")
    return match[1]


def assembled(text: str) -> str:
    """A script with its parts and its numbers; FileNotFoundError if a part is not there."""
    included: set[str] = set()

    def part(match: re.Match[str]) -> str:
        name = match[1]
        if name in included:
            return ""
        included.add(name)
        return with_parts((LUA / "include" / f"{name}.lua").read_text().rstrip("\n"))

    def with_parts(some: str) -> str:
        return re.sub(r"^ *-- @include (\w+)$", part, some, flags=re.MULTILINE)

    def limit(match: re.Match[str]) -> str:
        return str(getattr(limits, match[0], match[0]))

    return re.sub(r"\b[A-Z]+_[A-Z_]+\b", limit, with_parts(text))


def load(name: str) -> Script:
    """Read `lua/<name>.lua`; ValueError if its KEYS are not numbered 1, 2, 3 …"""
    body = assembled((LUA / f"{name}.lua").read_text())
    text = header(body)
    numbers = [int(n) for n in re.findall(r"^  KEYS\[(\d+)\]", text, re.MULTILINE)]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"{name}.lua: KEYS are not numbered 1, 2, 3 …")
    again = re.search(r"KEYS\[(\d+)\] … KEYS\[(\d+)\] come once more", text)
    return Script(name, body, len(numbers), int(again[2]) - int(again[1]) + 1 if again else 0)


FOLD, CLAIM, ACK, FREEZE, CLOSE, TRY = (load(name) for name in NAMES)
"""All there are."""
