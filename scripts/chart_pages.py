"""What `make generate` writes of the chart's values: `chart/values.yaml`, its schema and docs/values.md."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from chart_values import COMPONENTS, OVERLAYS, ChartValues, Values, flags

WIDTH = 100


def values_yaml(head: str) -> str:
    """chart/values.yaml: every default below its description."""
    return head + "\n" + "\n".join(_yaml_lines(ChartValues(), 0)) + "\n"


def _yaml_lines(values: Values, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(values).model_fields.items():
        if name == "global_":
            continue
        value = getattr(values, name)
        if isinstance(value, Values):
            if depth == 0:
                yield ""
            yield from _comment(type(value).__doc__, indent)
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, depth + 1)
        else:
            yield from _comment(field.description, indent)
            nested = isinstance(value, dict) and bool(value)
            text = yaml.safe_dump(value, default_flow_style=None, sort_keys=False) if nested else _flow(value)
            lines = text.rstrip().splitlines()
            yield from (
                [f"{indent}{name}:", *(f"{indent}  {line}" for line in lines)]
                if nested
                else [f"{indent}{name}: {lines[0]}"]
            )


def _comment(text: str | None, indent: str) -> list[str]:
    words = " ".join((text or "").split())
    return textwrap.wrap(words, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def values_schema() -> str:
    """chart/values.schema.json, by which Helm checks what it is given."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ChartValues.model_json_schema()}
    return json.dumps(_plain(schema), indent=2) + "\n"


def _plain(node: Any) -> Any:
    """Without the titles, which only repeat the names."""
    if isinstance(node, dict):
        return {
            key: _plain(value) for key, value in node.items() if key != "title" or not isinstance(value, str)
        }
    return [_plain(value) for value in node] if isinstance(node, list) else node


def values_page(head: str) -> str:
    """docs/values.md: every value, and the overlays in values."""
    rows = [f"| `{name}` | `{_flow(value)}` | {text} |" for name, value, text in _rows(ChartValues(), "")]
    kustomize = [
        f"| {what} `{name}` | {f'`{flags(values)}`' if values else '–'} |"
        for what, among in (("overlay", OVERLAYS), ("component", COMPONENTS))
        for name, values in among.items()
    ]
    return "\n".join(
        [
            head,
            "# Values of the chart",
            "",
            (
                "How to install it: [install.md](install.md#with-helm). A value that is not in this table, "
                "or has"
            ),
            (
                "another type, is an error that names it. stormfold is installed once in a cluster, as one "
                "release."
            ),
            "",
            "| value | default | what |",
            "|---|---|---|",
            *rows,
            "",
            "## Overlays and components",
            "",
            "The same objects as an overlay of `manifests/` come from these flags:",
            "",
            "| kustomize | Helm |",
            "|---|---|",
            *kustomize,
            "",
        ]
    )


def _rows(values: Values, path: str) -> Iterator[tuple[str, Any, str]]:
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if name == "global_":
            continue
        if isinstance(value, Values):
            yield from _rows(value, f"{path}{name}.")
        else:
            yield path + name, value, " ".join((field.description or "").split()).replace("|", "\\|")


def _flow(value: Any) -> str:
    """The value as YAML on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip().removeprefix("[").removesuffix("]")
