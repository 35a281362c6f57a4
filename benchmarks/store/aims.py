"""What the page says of the storm store, and what it is held to."""

from __future__ import annotations

from benchmarks.part import Aim
from benchmarks.store.memory import MAXMEMORY
from benchmarks.store.ways import RESOURCES

ABOUT = f"""
The same signals about storms of {RESOURCES} pods go to the same server ({MAXMEMORY}), over the same client and connection, one caller at a time. The ways:

* the whole request as a Kubernetes object of 30 KB, read, changed in the client (orjson) and written back. It goes without WATCH, as it was done, which spares it a round trip and all retries;
* the same object changed by a Lua script with cjson;
* a JSON text of 2 KB with only what has to be known of a storm, changed by such a script;
* stormfold's `fold.lua`, one signal a call, and in batches as the operator sends them. It alone also knows signals that come twice, windows, thresholds, deadlines and lost storms.

A batch of the other scripts, for fairness, is one call for each storm with all its signals, and the calls travel together. Redis CPU is all that the server used, network included.
"""  # noqa: E501
IN_LUA = (
    "a storm costs some 40 µs in a batch: six commands of Redis, and what decides between them. With 5 "
    "signals each that is most of it (decision 0044)"
)
AIMS = (
    Aim(
        "less_memory_percent",
        "less memory than the 30 KB object, at 25 resources, once ids are trimmed (claimed elsewhere: 93)",
        "%",
        at_least=95,
        reason="fields have names that people can read, in two hashes (decision 0044): 1.6 KB, not 1.1",
    ),
    Aim(
        "redis_us_10_storms",
        "Redis CPU a signal, 10 storms in a batch of 200",
        "µs",
        at_most=5,
    ),
    Aim(
        "redis_us_100_storms",
        "Redis CPU a signal, 100 storms in a batch of 500",
        "µs",
        at_most=8,
        reason=IN_LUA,
    ),
    Aim(
        "redis_cpu_ratio",
        "less Redis CPU a signal in batches of 200 than the 30 KB object in Lua",
        "times",
        at_least=50,
    ),
    Aim(
        "wall_ratio_single",
        "faster than get-modify-set, one signal a call (claimed elsewhere: 7.8)",
        "times",
        at_least=8,
        reason="a call costs the client alone some 150 µs for any content, and an eighth of "
        "get-modify-set by orjson is less; "
        "signals of a storm travel in batches",
    ),
    Aim("storms_10000_mb", "10,000 open storms, all that the server uses", "MB", at_most=32),
    Aim(
        "allocator_fragmentation",
        "allocator fragmentation with 100 and with 10,000 storms (jemalloc)",
        "",
        at_most=1.3,
    ),
    Aim(
        "rss_to_used",
        "resident to used memory with 10,000 storms (claimed elsewhere: under 5)",
        "",
        at_most=5,
    ),
)
