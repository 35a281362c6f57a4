#!/usr/bin/env python3
"""Writes what is generated from the code: crds/, the tables in docs/, and what the Helm chart has of both and
of manifests/. With --check, only says what would change."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import chart_pages
import costs
import diagrams
import reference
import yaml
from prometheus_client import REGISTRY

import stormfold
from stormfold.api.crd import crds, render
from stormfold.api.reasons.page import reasons_page
from stormfold.settings import Settings, default_of, flag_of, kind_of, variable_of

ROOT = Path(__file__).parent.parent
HEAD = "<!-- Generated from {source}: change it there, then run `make generate`. -->\n"


def metrics_page() -> str:
    """docs/metrics.md: every metric, its labels, and what it counts."""
    for module in pkgutil.walk_packages(stormfold.__path__, "stormfold."):
        if module.name != "stormfold.__main__":
            importlib.import_module(module.name)
    rows = []
    for collector in {id(c): c for c in REGISTRY._names_to_collectors.values()}.values():
        name = getattr(collector, "_name", "")
        if name.startswith("stormfold_"):
            kind = collector._type
            shown = name + {"counter": "_total", "info": "_info"}.get(kind, "")
            labels = ", ".join(f"`{label}`" for label in collector._labelnames) or "–"
            rows.append(f"| `{shown}` | {kind} | {labels} | {collector._documentation} |")
    return "\n".join(
        [
            HEAD.format(source="the metrics in operator/stormfold/"),
            "# Metrics",
            "",
            "What `/metrics` serves, beside the Python process's own. No label takes a value from a signal.",
            "",
            "| metric | type | labels | what |",
            "|---|---|---|---|",
            *sorted(rows),
            "",
        ]
    )


def settings_page() -> str:
    """docs/settings.md: every setting, its default, and what it does."""
    rows = [
        f"| `{variable_of(name)}` | `{flag_of(name)}` | {kind_of(field).replace('|', ' or ')} | "
        f"{f'`{default_of(field)}`' if default_of(field) else 'empty'} | "
        f"{' '.join((field.description or '').split())} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            HEAD.format(source="operator/stormfold/settings.py"),
            "# Settings",
            "",
            "Each is an environment variable, or a flag of `stormfold run`, which wins.",
            "What concerns storms is not here but in the policies: `kubectl explain stormpolicy.spec`.",
            "",
            "| variable | flag | type | default | what |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def benchmarks_page() -> str:
    """docs/benchmarks.md: what was measured last, and the aims."""
    sys.path.insert(0, str(ROOT))  # they are no part of the package
    page, parts = (importlib.import_module(f"benchmarks.{name}") for name in ("page", "parts"))
    return str(page.page(parts.PARTS, page.read(ROOT / "docs" / "benchmarks")))


def chart_files() -> dict[Path, str]:
    """What the chart has from elsewhere: it is a package of its own, so it holds copies."""
    chart, manifests = ROOT / "chart", ROOT / "manifests"
    rule = yaml.safe_load((manifests / "components/monitoring/prometheusrule.yaml").read_text())
    head = "# Generated from {}: change it there, then run `make generate`.\n".format
    return {
        chart / "values.yaml": chart_pages.values_yaml(head("scripts/chart_values.py")),
        chart / "values.schema.json": chart_pages.values_schema(),
        **{chart / "files" / "crds" / name: render(crd) for name, crd in crds().items()},
        chart / "files" / "valkey.conf": (manifests / "overlays/standalone/valkey.conf").read_text(),
        chart / "files" / "dashboard.json": (
            manifests / "components/monitoring/grafana-dashboard.json"
        ).read_text(),
        chart / "files" / "steering.yaml": (manifests / "components/steering/admission.yaml").read_text(),
        chart / "files" / "rules.yaml": yaml.safe_dump(rule["spec"], sort_keys=False, width=100),
        ROOT / "docs" / "values.md": chart_pages.values_page(HEAD.format(source="scripts/chart_values.py")),
    }


def main() -> int:
    """0 if every file is as it should be, or was written; 1 if `--check` found a difference."""
    wanted = {ROOT / "crds" / name: render(crd) for name, crd in crds().items()}
    wanted[ROOT / "docs" / "reasons.md"] = reasons_page()
    wanted[ROOT / "docs" / "crds.md"] = reference.crds_page()
    wanted[ROOT / "docs" / "runbooks.md"] = reference.runbooks_page(ROOT)
    wanted[ROOT / "docs" / "metrics.md"] = metrics_page()
    wanted[ROOT / "docs" / "settings.md"] = settings_page()
    wanted[ROOT / "docs" / "benchmarks.md"] = benchmarks_page()
    wanted |= diagrams.diagrams(ROOT / "docs" / "diagrams")
    wanted |= chart_files()
    evaluate = ROOT / "docs" / "evaluate.md"
    wanted[evaluate] = costs.page(evaluate.read_text(), ROOT / "docs" / "benchmarks")
    stale = {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    there = {path for folder in ("crds", "chart/files/crds") for path in (ROOT / folder).glob("*.yaml")}
    unknown = there - wanted.keys()
    if "--check" in sys.argv[1:]:
        for path in sorted(stale.keys() | unknown):
            print(f"{path.relative_to(ROOT)} differs from the code: run `make generate`", file=sys.stderr)
        return 1 if stale or unknown else 0
    for path in unknown:
        path.unlink()
    for path, text in stale.items():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
