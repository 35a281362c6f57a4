"""Pages of the reference that come from the code: custom resources, and alerts about stormfold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stormfold.api.crd import crds

HEAD = "<!-- Generated from {}: change it there, then run `make generate`. -->\n"
RULES = Path("manifests/components/monitoring/prometheusrule.yaml")


def runbooks_page(root: Path) -> str:
    """docs/runbooks.md: every alert about stormfold itself, when it fires, and what to do."""
    rules = yaml.safe_load((root / RULES).read_text())["spec"]["groups"]
    page = [
        HEAD.format(RULES),
        "# Alerts about stormfold",
        "",
        "The component `monitoring` brings these alerts ([Monitoring](install.md#monitoring)).",
        "Their `runbook_url` leads here.",
        "",
    ]
    for rule in (rule for group in rules for rule in group["rules"]):
        said = rule["annotations"]
        when = f"after {rule['for']} of" if "for" in rule else "at once by"
        page += [
            f"## {rule['alert']}",
            "",
            f"**{_filled(said['summary'])}** {_filled(said['description'])}",
            "",
            f"Severity `{rule['labels']['severity']}`, {when}:",
            "",
            "```promql",
            rule["expr"].strip(),
            "```",
            "",
        ]
    return "\n".join(page)


def _filled(text: str) -> str:
    """A text of an alert, with names of labels instead of their values."""
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", " ".join(text.split()))
    return re.sub(r"\{\{ \$value[^}]*\}\}", "*x*", named)


def crds_page() -> str:
    """docs/crds.md: every field of every custom resource."""
    page = [
        HEAD.format("operator/stormfold/api/"),
        "# Custom resources",
        "",
        "API group `stormfold.dev`, version `v1alpha1`.",
        "`kubectl explain` says the same, and has the fields below the second level.",
    ]
    for crd in crds().values():
        names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
        schema = version["schema"]["openAPIV3Schema"]
        page += ["", f"## {names['kind']}", "", _text(schema.get("description", "")), ""]
        page.append(f"`kubectl get {names['shortNames'][0]}`; lies in {_scope(crd)}.")
        if names["kind"] == "ClusterStormPolicy":
            page += ["", "The fields are those of a [StormPolicy](#stormpolicy)."]
            continue
        for part in ("spec", "status"):
            if part not in schema["properties"]:
                continue
            page += ["", f"| `{part}` | type | default | what |", "|---|---|---|---|"]
            page += _rows(schema["properties"][part], "")
    return "\n".join([*page, ""])


def _scope(crd: dict[str, Any]) -> str:
    return "a namespace" if crd["spec"]["scope"] == "Namespaced" else "no namespace"


def _rows(schema: dict[str, Any], above: str) -> Iterator[str]:
    """A row for each field; fields of fields come after theirs, down to the second level."""
    for name, field in schema.get("properties", {}).items():
        default = f"`{_shown(field['default'])}`" if field.get("default") not in (None, {}, []) else ""
        text = _text(field.get("description", "") or field.get("items", {}).get("description", ""))
        yield f"| `{above}{name}` | {_type(field)} | {default} | {text} |"
        if not above.count("."):
            mark = "[]" if field.get("type") == "array" else ""
            yield from _rows(field.get("items", field), f"{above}{name}{mark}.")


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"])
    kind = str(field.get("format") if field.get("format") == "date-time" else field.get("type", "any"))
    if kind == "array":
        return f"list of {_type(field['items'])}"
    return kind


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
