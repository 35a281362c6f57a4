"""What docs/evaluate.md says of costs follows from what was measured."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COSTS = runpy.run_path(str(ROOT / "scripts" / "costs.py"))
PAGE = (ROOT / "docs" / "evaluate.md").read_text()


def test_largest_cluster_is_computed_as_the_page_says() -> None:
    (row,) = re.findall(r"^\| 2,000 \|.*$", PAGE, re.MULTILINE)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    webhook = json.loads((ROOT / "docs/benchmarks/webhook.json").read_text())["raw"][
        "ack: request, new alerts"
    ]
    alert = webhook["cpu_us_per_alert"]
    assert cells[1:6] == ["60,000", "9,000", "100", "128 MB", "1,400 KB"]
    assert cells[6] == " ".join(
        f"{said} {(9_000 * alert[name] + 400 * write_us(name)) / 1e6:.2f} s{end}"
        for said, name, end in (("operator", "operator", ","), ("API server", "kube-apiserver", ""))
    )


def write_us(process: str) -> float:
    """CPU of a write of a request: what 2,000 groups of 3,000 Signals took more than 20, by what was written
    more."""
    raw = json.loads((ROOT / "docs/benchmarks/signals.json").read_text())["raw"]["storms"]
    few, many = ([it for it in raw if it["watched"] and it["groups"] == groups] for groups in (20, 2_000))
    more_us = 3_000 * (sum(it["cpu"][process] for it in many) - sum(it["cpu"][process] for it in few))
    return more_us / (sum(it["writes"] for it in many) - sum(it["writes"] for it in few))


def test_writes_of_a_request_are_those_that_the_guard_holds() -> None:
    guard = json.loads((ROOT / "benchmarks" / "guard.json").read_text())
    assert guard["api_writes_of_a_storm_from_opening_to_closing"] == COSTS["WRITES"]
    assert f"written {COSTS['WRITES']} times" in PAGE


def test_a_storm_of_signals_takes_no_more_of_redis_than_the_page_says() -> None:
    guard = json.loads((ROOT / "benchmarks" / "guard.json").read_text())
    for name, used in guard.items():
        if found := re.match(r"bytes_of_a_storm_of_(\d+)_resources", name):
            assert used <= 1000 * (COSTS["STORM_KB"] + COSTS["REPORT_KB"] * int(found[1])), name


SAID = {
    "signals": "Signals",
    "remediationrequests": "requests",
    "stormpolicies": "policies",
    "clusterstormpolicies": "policies",
    "stormgates": "gates",
    "namespaces": "namespaces",
    "events": "Events",
    "tokenreviews": "TokenReviews",
    "subjectaccessreviews": "SubjectAccessReviews",
    "leases": "Leases",
    "pods": "pods",
    "nodes": "nodes",
    "replicasets": "their controllers",
    "deployments": "their controllers",
    "statefulsets": "their controllers",
    "daemonsets": "their controllers",
    "jobs": "their controllers",
    "cronjobs": "their controllers",
}
"""Resources → what the page calls them."""


def granted() -> set[tuple[str, str]]:
    """(verb, resource) of all roles of the operator, with every component."""
    rules = [
        rule
        for folder in ("base", "components")
        for path in (ROOT / "manifests" / folder).rglob("*.yaml")
        for found in yaml.safe_load_all(path.read_text())
        if found and found.get("kind") in {"Role", "ClusterRole"}
        # Those of component `access` are for people.
        if found["metadata"].get("labels", {}).get("app.kubernetes.io/component") != "access"
        for rule in found["rules"]
    ]
    return {
        (verb, resource.partition("/")[0]) if "/status" not in resource else ("write", resource[:-7])
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(("verb", "resource"), sorted(granted()))
def test_right_is_named(verb: str, resource: str) -> None:
    rights = PAGE.partition("\n## Rights\n")[2].partition("\n## ")[0]
    verb = "write" if resource == "leases" else verb
    clauses = [clause for row in rights.splitlines() for clause in row.split(" | ")[0].split(";")]
    words = rf"\b({verb}|read)\b" if verb in {"get", "list", "watch"} else rf"\b{verb}\b"
    assert [it for it in clauses if re.search(words, it) and SAID[resource] in it], (verb, resource)


def test_sources_of_the_comparison_are_given() -> None:
    used = set(re.findall(r"\[(\d)\](?!:)", PAGE))
    assert used == set(re.findall(r"^\[(\d)\]: https://", PAGE, re.MULTILINE))


def test_table_keeps_what_stands_around_it() -> None:
    text = f"before\n{COSTS['BEGIN']}old\n{COSTS['END']}after\n"
    written = COSTS["page"](text, ROOT / "docs" / "benchmarks")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
