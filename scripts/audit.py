"""Whether a package that a lock file names has a known vulnerability, by the advisories of PyPI.

    python scripts/audit.py requirements.lock …

    AUDIT=required   fails also if some package could not be asked about
    AUDIT_URL=…      what has PyPI's JSON API, by default https://pypi.org/pypi; few mirrors have it

An advisory fails, unless `.ci/audit-ignore.toml` says why it does not concern us. What could not be asked about is no
package without advisories, and the last lines say so.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IGNORED = Path(__file__).parents[1] / ".ci" / "audit-ignore.toml"
PYPI = "https://pypi.org/pypi"
AT_ONCE = 8
TIMEOUT_SECONDS = 10.0
LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])? *== *([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Package:
    """A version of a package that is installed somewhere."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Advisory:
    """What is known to be wrong with a package."""

    names: tuple[str, ...]
    """Its id, then those under which others know it."""
    summary: str
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        mend = f"mended in {', '.join(self.fixed_in)}" if self.fixed_in else "not mended in any version"
        return f"{', '.join(self.names)}: {self.summary} ({mend})"


class UnansweredError(Exception):
    """The source does not say whether the package has advisories."""


class UnreachableError(UnansweredError):
    """Nor will it say so of any other."""


def locked(texts: Iterable[str]) -> list[Package]:
    """All packages of some lock files, each once."""
    return sorted({Package(*found) for text in texts for found in LOCKED.findall(text)})


def advisories(answer: Any) -> list[Advisory]:
    """What PyPI's JSON says of a version; what was withdrawn is none."""
    if not isinstance(answer, dict) or not isinstance(answer.get("vulnerabilities"), list):
        raise UnansweredError("it has no advisories")
    return [
        Advisory(
            (found["id"], *found.get("aliases", ())),
            (found.get("summary") or found.get("details") or "no summary").strip().partition("\n")[0][:200],
            tuple(found.get("fixed_in") or ()),
        )
        for found in answer["vulnerabilities"]
        if not found.get("withdrawn")
    ]


def ask(url: str, package: Package) -> list[Advisory]:
    """The advisories on a package."""
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    request = urllib.request.Request(
        f"{url}/{package.name}/{package.version}/json", headers={"User-Agent": "stormfold-audit"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as response:
            return advisories(json.load(response))
    except urllib.error.HTTPError as exc:
        raise UnansweredError(f"HTTP {exc.code}") from exc
    except OSError as exc:
        raise UnreachableError(str(getattr(exc, "reason", exc))) from exc
    except ValueError as exc:
        raise UnansweredError("no JSON") from exc


def ask_about_all(url: str, packages: list[Package]) -> dict[Package, list[Advisory] | str]:
    """The advisories on each, or why there is no answer. Of a source that cannot be reached one is asked about only."""

    def answer(package: Package) -> list[Advisory] | str:
        try:
            return ask(url, package)
        except UnansweredError as exc:
            return str(exc)

    try:
        first: list[Advisory] | str = ask(url, packages[0])
    except UnreachableError as exc:
        return dict.fromkeys(packages, str(exc))
    except UnansweredError as exc:
        first = str(exc)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(packages, [first, *pool.map(answer, packages[1:])], strict=True))


def ignored(text: str) -> dict[str, str]:
    """Id of an advisory to the reason for which it does not concern us."""
    reasons = {
        str(entry.get("id", "")): str(entry.get("reason", ""))
        for entry in tomllib.loads(text).get("ignore", ())
    }
    for name, reason in reasons.items():
        if not name or len(reason) < 20:
            sys.exit(f"{IGNORED.name}: {name or 'an entry without an id'} must have a reason, as a sentence")
    return reasons


def report(
    answers: Mapping[Package, list[Advisory] | str], reasons: Mapping[str, str], url: str
) -> tuple[list[str], bool, bool]:
    """What is said in the end, whether an advisory was found, and whether all could be asked about."""
    lines, found, used = [], 0, set()
    for package, answer in answers.items():
        for advisory in answer if isinstance(answer, list) else ():
            known = next((name for name in advisory.names if name in reasons), None)
            if known:
                used.add(known)
                lines.append(f"  ignored: {package}: {known}: {reasons[known]}")
            else:
                found += 1
                lines.append(f"  {package}: {advisory}")
    unanswered = {package: why for package, why in answers.items() if isinstance(why, str)}
    asked = len(answers) - len(unanswered)
    if not unanswered:
        lines += [f"  ignored without need: {name}" for name in sorted(reasons.keys() - used)]
    if asked:
        lines.append(
            f"audit: {asked} packages, {found or 'no'} known {'advisory' if found == 1 else 'advisories'}"
        )
    if unanswered:
        which = "every package" if not asked else ", ".join(map(str, unanswered))
        whys = ", ".join(sorted(set(unanswered.values())))
        lines.append(
            f"audit did NOT run for {len(unanswered)} of {len(answers)} packages ({which}): {url} says {whys}"
        )
    return lines, bool(found), not unanswered


def main() -> int:
    """Audit the lock files named on the command line; the exit code."""
    url = os.environ.get("AUDIT_URL", PYPI).rstrip("/")
    packages = locked(Path(name).read_text() for name in sys.argv[1:])
    if not packages:
        sys.exit("audit: no lock file names a package")
    reasons = ignored(IGNORED.read_text()) if IGNORED.is_file() else {}
    lines, found, complete = report(ask_about_all(url, packages), reasons, url)
    required = os.environ.get("AUDIT") == "required"
    if not complete:
        lines.append(
            "AUDIT=required, so this is a failure" if required else "AUDIT=required makes that a failure"
        )
    print("\n".join(lines))
    return int(found or (required and not complete))


if __name__ == "__main__":
    sys.exit(main())
