"""stormfold run | crds | gate: arguments in, exit code out."""

import argparse
import asyncio
import gc
import logging
import logging.config
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stormfold import __version__
from stormfold.api.crd import crds, render
from stormfold.api.value_errors import in_words
from stormfold.gate import commands as gate_commands
from stormfold.settings import FORMS, Settings, default_of, flag_of, kind_of, unknown_variables, variable_of

log = logging.getLogger("stormfold")

TERMINATION_LOG = Path("/dev/termination-log")
"""The terminationMessagePath that a container has by default."""
TERMINATION_LOG_BYTES = 4096
"""What the kubelet takes of it."""


def main() -> None:
    """Run the command line; exits with 0, 1 (it ended with an error) or 2 (it was called or set up
    wrongly)."""
    parser = argparse.ArgumentParser(
        prog="stormfold", description="Folds storms of signals into one RemediationRequest each."
    )
    parser.add_argument("--version", action="version", version=f"stormfold {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | crds | gate")
    commands.add_parser(
        "run", help="run the operator; `stormfold run --help` lists the settings", add_help=False
    )
    crd = commands.add_parser(
        "crds", help="print the CustomResourceDefinitions, ready for kubectl apply -f -"
    )
    crd.add_argument("--out", type=Path, metavar="DIR", help="write one file each into DIR instead")
    gate_commands.add_parser(commands)
    arguments, rest = parser.parse_known_args()
    if arguments.command == "run":
        sys.exit(run(rest))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.command == "gate":
        sys.exit(asyncio.run(gate_commands.run(arguments)))
    write_crds(arguments.out)


def write_crds(out: Path | None) -> None:
    """Print the CRDs, or write them into a folder."""
    for name, crd in crds().items():
        if out is None:
            sys.stdout.write(f"---\n{render(crd)}")
        else:
            out.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(render(crd))


def run(arguments: list[str]) -> int:
    """Run the operator."""
    given = vars(run_parser().parse_args(arguments))
    try:
        settings = Settings(**given)
    except ValidationError as exc:
        return refuse(
            f"{variable_of(str(error['loc'][0]))}: {in_words(error, FORMS)}"
            for error in exc.errors(include_url=False)
        )
    logging.config.dictConfig(logging_config(settings))
    for warning in unknown_variables(os.environ):
        log.warning("%s", warning)
    code = 0
    # Half of all imports are the operator's: who lifts a hold does not wait for them.
    from stormfold.starting import FIXABLE, begin  # noqa: PLC0415

    keep_what_is_imported()
    try:
        begin(settings)
    except* FIXABLE as group:
        failures = [str(failure) for failure in _leaves(group)]
        for failure in failures:
            log.critical("stormfold ends: %s", failure)
        say_last("\n".join(failures))
        code = 1
    return code


def run_parser() -> argparse.ArgumentParser:
    """The parser of `stormfold run`: a flag for each setting, which wins over its variable."""
    parser = argparse.ArgumentParser(
        prog="stormfold run",
        usage="stormfold run [-h] [--SETTING VALUE …]",
        description="Run the operator in the cluster of the pod, or of the current context of KUBECONFIG. "
        "Each setting is a flag or an environment variable; the flag wins.",
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        text = " ".join((field.description or "").split())
        parser.add_argument(
            flag_of(name),
            metavar=kind_of(field),
            default=argparse.SUPPRESS,
            help=f"{text} [{variable_of(name)}; default: {default_of(field) or 'empty'}]".replace("%", "%%"),
        )
    return parser


def keep_what_is_imported() -> None:
    """Garbage is looked for in what comes from now on: the packages are hundreds of thousands of objects that
    stay, and to look through them again and again was a third of what an alert cost.

    What is kept of signals and requests has no cycles, but there may be millions of objects of it: to look
    through all of them took 0.12 s for 20,000 signals under way, and a tenth of what a signal cost. So that
    is done ten times less often than Python would.
    """
    gc.collect()
    gc.freeze()
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 10 * old)


def refuse(reasons: Iterable[str]) -> int:
    """Say why these settings are none; gives the exit code."""
    lines = [f"stormfold: {reason}" for reason in reasons]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    say_last("\n".join(lines))
    return 2


def say_last(message: str) -> None:
    """Leave the message where the kubelet takes a container's last words from; elsewhere there is no such
    file."""
    with suppress(OSError):
        if TERMINATION_LOG.is_file():
            TERMINATION_LOG.write_bytes(message.encode()[:TERMINATION_LOG_BYTES])


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def logging_config(settings: Settings) -> dict[str, Any]:
    """Logs on stderr, one JSON object a line."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            },
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "stormfold": {"level": settings.log_level},
            # That kopf leaves SIGTERM to us is how we run it, and no news.
            "kopf._core.reactor.running": {"level": "ERROR"},
        },
    }
