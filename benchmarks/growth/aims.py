"""What the page says of growth, and what it is held to."""

from __future__ import annotations

from benchmarks.growth.replicas import UNDER_WAY
from benchmarks.part import Aim

ABOUT = f"""
What grows is the number of signals, of storms, of replicas and of servers. Arrivals are made in memory and go through the operator's own routing, folder, scripts, reconciler and
checkpoint into Valkey, as fast as they become durable. At most {UNDER_WAY:,} are under way. In the place of the API server is a writer that says at once that the request holds what it is given.

In: routing among ten policies, batches, `fold.lua`, claims, deadlines, settling, ids and their trimming, the word that a signal is durable. Out: reading and decoding Signals, rendering and
writing requests, marks, retention, kopf, and what replicas hear of each other's requests over a watch: the parts `signals` and `webhook` measure those. CPU is that of the process, without
making the arrivals, and all that the servers used.

With 100 storms, each grows with the signals. With 10 signals a storm, 100 storms at a time get all of theirs: the storms grow with the signals, to 100,000 that are open.
"""  # noqa: E501
AIMS = (
    Aim("few_storms_ratio", "CPU of a signal, 10⁶ to 10³ of them, in 100 storms", "times", at_most=1.2),
    Aim(
        "small_storms_ratio",
        "CPU of a signal, 10⁶ to 10³ of them, 10 a storm, up to 10⁵ storms open",
        "times",
        at_most=1.2,
    ),
    Aim(
        "replicas_ratio",
        "CPU of a signal with 3 replicas to that with one",
        "times",
        at_most=1.2,
        reason="each replica gathers calls of its own, which hold fewer signals, and sweeps for itself",
    ),
    Aim(
        "cluster_ratio",
        "CPU of a signal on a Cluster of 3 to that on one server",
        "times",
        at_most=1.2,
        reason="three servers, each with calls of its own, which hold fewer signals",
    ),
)
