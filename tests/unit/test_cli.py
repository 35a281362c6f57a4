"""The command line: what it prints and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stormfold import __version__, cli
from stormfold.api.crd import crds
from stormfold.settings import Settings, default_of, flag_of, kind_of, variable_of


def stormfold(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stormfold", *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_is_printed() -> None:
    assert stormfold("--version").stdout == f"stormfold {__version__}\n"


def test_crds_are_printed_for_kubectl() -> None:
    printed = stormfold("crds")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert list(yaml.safe_load_all(printed.stdout)) == list(crds().values())


def test_help_of_run_says_of_every_setting_its_flag_type_variable_and_default() -> None:
    text = " ".join(stormfold("run", "--help", COLUMNS="80").stdout.split())
    for name, field in Settings.model_fields.items():
        assert f"{flag_of(name)} {kind_of(field)} " in text
        assert f"[{variable_of(name)}; default: {default_of(field) or 'empty'}]" in text
    assert "--log-level DEBUG|INFO|WARNING|ERROR The lowest level of messages" in text
    assert "[STORMFOLD_TERMINAL_PHASES; default: Aborted, Cancelled, Completed, Failed," in text


def test_unknown_variable_is_warned_of_and_the_flag_wins_over_its_variable() -> None:
    ended = stormfold(
        *("run", "--redis-url", "http://flag"),
        STORMFOLD_REDIS_URL="ftp://variable",
        STORMFOLD_LOGLEVEL="info",
    )
    warning, last = (json.loads(line) for line in ended.stderr.splitlines())
    assert warning["message"] == (
        "STORMFOLD_LOGLEVEL is no setting and has no effect: did you mean STORMFOLD_LOG_LEVEL?"
    )
    assert last["message"].startswith("stormfold ends: STORMFOLD_REDIS_URL begins with 'http';")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "line"),
    [
        pytest.param(
            ["run"],
            {"STORMFOLD_HTTP_PORT": "99999"},
            2,
            "stormfold: STORMFOLD_HTTP_PORT: must be 65535 or less, not '99999'",
            id="a port that is none",
        ),
        pytest.param(
            ["run", "--bogus"],
            {},
            2,
            "stormfold run: error: unrecognized arguments: --bogus",
            id="a flag that is none",
        ),
        pytest.param(
            ["crds", "--bogus"],
            {},
            2,
            "stormfold: error: unrecognized arguments: --bogus",
            id="a flag that is none of another command",
        ),
    ],
)
def test_wrong_call_ends_with_one_line_and_code(
    arguments: list[str], environment: dict[str, str], code: int, line: str
) -> None:
    ended = stormfold(*arguments, **environment)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (code, line)


def test_last_words_are_left_for_the_kubelet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for_the_kubelet = tmp_path / "termination-log"
    for_the_kubelet.touch()
    monkeypatch.setattr(cli, "TERMINATION_LOG", for_the_kubelet)
    assert cli.run(["--http-port", "99999"]) == 2
    assert for_the_kubelet.read_text() == (
        "stormfold: STORMFOLD_HTTP_PORT: must be 65535 or less, not '99999'"
    )


def test_without_a_kubelet_no_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "TERMINATION_LOG", tmp_path / "termination-log")
    assert cli.run(["--http-port", "99999"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_pod_without_its_secret_says_so_in_one_line() -> None:
    ended = stormfold("run", KUBERNETES_SERVICE_HOST="10.96.0.1")
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert json.loads(line)["message"] == (
        "stormfold ends: STORMFOLD_REDIS_URL is not set: create the Secret stormfold-redis with the key url "
        "in namespace stormfold-system. See https://stormfold.dev/install/#a-redis-of-your-own"
    )


THRESHOLDS = """
import gc, json
from stormfold import cli
before = gc.get_threshold()
cli.keep_what_is_imported()
print(json.dumps([before, gc.get_threshold(), gc.get_freeze_count()]))
"""


def test_all_that_is_kept_is_looked_through_for_garbage_ten_times_less_often() -> None:
    told = subprocess.run([sys.executable, "-c", THRESHOLDS], check=True, capture_output=True, text=True)
    (young, middle, old), after, frozen = json.loads(told.stdout)
    assert after == [young, middle, 10 * old]
    assert frozen > 10_000


IMPORTED = """
import sys
from stormfold.__main__ import main
sys.argv = ["stormfold", "gate", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_gate_begins_without_what_only_the_operator_needs() -> None:
    told = subprocess.run([sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True)
    help_, imported = told.stdout.rsplit("\n", 2)[:2]
    assert "hold | lift | status" in help_
    assert {"stormfold", "pydantic"} <= set(imported.split())
    assert {"kopf", "redis", "uvloop"} & set(imported.split()) == set()
