"""What `manifests/` has for Prometheus, Alertmanager and Grafana, on the real programs and the real CRDs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.silence import Scraped, fired
from tests.api.conftest import NewAlertmanager, had
from tests.harness import programs
from tests.harness.alertmanager import Alert, pod_alerts
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl, KubectlError
from tests.harness.manifests import MANIFESTS, PROMETHEUS, ROOT, dry_run, of_kind, rendered
from tests.harness.receiver import Receiver

MONITORING = MANIFESTS / "components" / "monitoring"
ALERTMANAGER = MANIFESTS / "alertmanager"
RULE = MONITORING / "prometheusrule.yaml"
DASHBOARD = MONITORING / "grafana-dashboard.json"
SCENARIOS = Path(__file__).parents[1] / "cases" / "alerts.yaml"
SENDER = "system:serviceaccount:monitoring:stormfold-alerts"


def loaded(path: Path) -> Any:
    """The one document of a file."""
    return yaml.safe_load(path.read_text())


# --- Prometheus


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The checker of rules and expressions."""
    return had(programs.promtool)


def check(*command: str | Path) -> str:
    """What a checker printed, if it found nothing wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alerting_rules() -> list[Manifest]:
    """All alerting rules that are shipped."""
    return [rule for group in loaded(RULE)["spec"]["groups"] for rule in group["rules"]]


def test_each_alert_fires_when_it_should_and_only_then(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(loaded(RULE)["spec"]))
    scenarios = loaded(SCENARIOS) | {"rule_files": ["rules.yaml"]}
    (tmp_path / "scenarios.yaml").write_text(yaml.safe_dump(scenarios))
    check(promtool, "check", "rules", tmp_path / "rules.yaml")
    check(promtool, "test", "rules", tmp_path / "scenarios.yaml")
    told = [
        (case["alertname"], "exp_alerts" in case)
        for it in scenarios["tests"]
        for case in it["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in alerting_rules()}
    assert set(told) == {(name, fires) for name in names for fires in (False, True)}


@pytest.mark.parametrize(
    ("failures", "alerting"),
    [
        pytest.param(0.0, [], id="none fails"),
        pytest.param(
            1.0,
            ["AlertmanagerClusterFailedToSendAlerts", "AlertmanagerFailedToSendAlerts"],
            id="one in ten fails",
        ),
    ],
)
def test_measurement_of_silence_finds_notifications_that_fail(
    promtool: Path, tmp_path: Path, failures: float, alerting: list[str]
) -> None:
    """docs/measured.md names the command."""
    sender, operator = Scraped("alertmanager", ""), Scraped("operator", "")
    minutes = range(4 * 10 + 1)
    sender.series = {
        'alertmanager_notifications_total{integration="webhook"}': [10.0 * n for n in minutes],
        'alertmanager_notifications_failed_total{integration="webhook",reason="serverError"}': [
            failures * n for n in minutes
        ],
    }
    operator.series = {"stormfold_ingest_leading{}": [1.0 for _ in minutes]}
    assert fired(promtool, tmp_path, [sender, operator], 600) == alerting


def known_metrics() -> dict[str, set[str]]:
    """The name of each series that `/metrics` may have, and its labels."""
    table = re.findall(
        r"^\| `(stormfold_\w+)` \| (\w+) \| ([^|]*) \|",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    known: dict[str, set[str]] = {}
    for name, kind, labels in table:
        for suffix in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
            known[name + suffix] = set(re.findall(r"\w+", labels))
    return known


def assert_known(expression: str, *texts: str) -> None:
    """Every metric of an expression exists, and so does each label that it or one of the texts is about."""
    known = known_metrics()
    metrics = set(re.findall(r"stormfold_\w+", expression))
    assert metrics, expression
    assert metrics <= known.keys(), expression
    labels = set().union(*(known[metric] for metric in metrics)) | {"namespace", "instance", "le"}
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    asked = {label.strip() for group in grouped for label in group.split(",")}
    selected = {
        label
        for braces in re.findall(r"\{([^}]*)\}", expression)
        for label in re.findall(r"(\w+)[!=]", braces)
    }
    shown = {
        label
        for text in texts
        for label in re.findall(r"\$labels\.(\w+)|\{\{(\w+)\}\}", text)
        for label in label
    }
    assert asked | selected | (shown - {""}) <= labels, expression


def test_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    for rule in alerting_rules():
        assert_known(rule["expr"], *rule["annotations"].values())
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}


# --- Grafana


def dashboard_queries() -> Iterator[tuple[str, str, str]]:
    """(title, expression, legend) of every query of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


def test_dashboard_asks_for_metrics_and_labels_that_exist(promtool: Path, tmp_path: Path) -> None:
    queries = list(dashboard_queries())
    for _, expression, legend in queries:
        assert_known(expression, legend)
        assert expression.count("namespace=~") == len(re.findall(r"stormfold_\w+", expression)), expression
    rules = [
        # Grafana puts a duration there.
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression, _) in enumerate(queries)
    ]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"SUCCESS: {len(queries)} rules" in check(promtool, "check", "rules", tmp_path / "queries.yaml")


def test_dashboard_says_of_each_panel_what_it_is_and_puts_none_over_another() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["type"] == "row" or panel["description"], panel["title"]


def test_dashboard_is_where_the_sidecar_of_grafana_looks() -> None:
    (found,) = (
        it
        for it in of_kind(rendered("standalone", "monitoring"), "ConfigMap")
        if it["metadata"]["labels"].get("grafana_dashboard") == "1"
    )
    assert found["metadata"]["name"] == "stormfold-dashboard"
    assert found["data"] == {"stormfold.json": DASHBOARD.read_text()}


# --- the Prometheus operator


@pytest.fixture
async def prometheus_operator(api: Api, kubectl: Kubectl) -> AsyncIterator[Kubectl]:
    """kubectl on an API server that knows the kinds of the Prometheus operator."""
    files = [
        str(programs.prometheus_operator_crds() / f"monitoring.coreos.com_{plural}.yaml")
        for plural in ("alertmanagerconfigs", "servicemonitors", "prometheusrules")
    ]
    options = [option for file in files for option in ("-f", file)]
    await kubectl("apply", "--server-side", *options)

    async def established() -> bool:
        try:
            await kubectl("wait", "--for=condition=Established", "--timeout=5s", *options)
        except KubectlError:
            return False  # while a kind has no conditions yet, kubectl gives up at once
        return True

    await eventually(established, within=60, what="the kinds are established")
    if await api.get("Namespace", "monitoring") is None:
        await kubectl("create", "namespace", "monitoring")
    yield kubectl
    await kubectl("delete", "--wait=false", *options)


async def test_prometheus_operator_takes_its_kinds(prometheus_operator: Kubectl) -> None:
    objects = of_kind(rendered("ha", "monitoring"), *PROMETHEUS)
    assert {found["kind"] for found in objects} == PROMETHEUS
    config = loaded(ALERTMANAGER / "alertmanagerconfig.yaml")
    await dry_run(prometheus_operator, [*objects, config])
    config["spec"]["receivers"][0]["webhookConfigs"][0]["sendResolve"] = True
    with pytest.raises(KubectlError, match="sendResolve"):
        await dry_run(prometheus_operator, [config])


# --- Alertmanager


def snake(value: Any) -> Any:
    """Kubernetes' names of fields as Alertmanager writes them."""
    if isinstance(value, dict):
        return {re.sub(r"(?=[A-Z])", "_", key).lower(): snake(one) for key, one in value.items()}
    return [snake(one) for one in value] if isinstance(value, list) else value


def test_alertmanagerconfig_says_what_the_file_says() -> None:
    file = loaded(ALERTMANAGER / "alertmanager.yml")
    route = file["route"]["routes"][0]
    (receiver,) = (it for it in file["receivers"] if it["name"] == "stormfold")
    resource = loaded(ALERTMANAGER / "alertmanagerconfig.yaml")
    spec = snake(resource["spec"])
    # The Prometheus operator sets it.
    assert route.pop("continue") is True
    (matcher,) = spec["route"]["matchers"]
    spec["route"]["matchers"] = [f'{matcher["name"]}{matcher["match_type"]}"{matcher["value"]}"']
    assert spec["route"] == route
    (hook,) = spec["receivers"][0]["webhook_configs"]
    (wanted,) = receiver["webhook_configs"]
    token = hook.pop("http_config")["authorization"]["credentials"]
    wanted.pop("http_config")
    assert hook == wanted
    secret = next(it for it in access() if it["kind"] == "Secret")["metadata"]
    assert (token["name"], token["key"]) == (secret["name"], "token")
    assert resource["metadata"]["namespace"] == secret["namespace"]


def test_contact_point_of_grafana_says_what_the_file_says() -> None:
    file = loaded(ALERTMANAGER / "alertmanager.yml")
    (hook,) = next(it for it in file["receivers"] if it["name"] == "stormfold")["webhook_configs"]
    ours = loaded(ALERTMANAGER / "grafana.yaml")
    (point,) = ours["contactPoints"]
    (receiver,) = point["receivers"]
    settings = receiver["settings"]
    assert (receiver["type"], settings["url"]) == ("webhook", hook["url"])
    assert (settings["maxAlerts"], receiver["disableResolveMessage"]) == (
        str(hook["max_alerts"]),
        not hook["send_resolved"],
    )
    assert settings["authorization_scheme"] == "Bearer"
    (policy,) = ours["policies"]
    route, wanted = policy["routes"][0], file["route"]["routes"][0]
    (matcher,) = route.pop("object_matchers")
    assert [f'{matcher[0]}{matcher[1]}"{matcher[2]}"'] == wanted.pop("matchers")
    assert set(route.pop("group_by")) - {"grafana_folder"} == set(wanted.pop("group_by"))
    assert route == wanted
    assert point["name"] == route["receiver"]
    assert policy["routes"][-1] == {"receiver": policy["receiver"]}


def access() -> list[Manifest]:
    """The objects that allow it to post."""
    return list(yaml.safe_load_all((ALERTMANAGER / "access.yaml").read_text()))


async def test_real_alertmanager_posts_as_the_file_says_and_goes_on_to_people(
    alertmanager: NewAlertmanager, tmp_path: Path
) -> None:
    file = loaded(ALERTMANAGER / "alertmanager.yml")
    (tmp_path / "token").write_text("of-the-tests")
    receivers = {it["name"]: it for it in file["receivers"]}
    (hook,) = receivers["stormfold"]["webhook_configs"]
    async with AsyncExitStack() as stack:
        ours, peoples = [await stack.enter_async_context(Receiver().running()) for _ in range(2)]
        assert hook["url"].endswith(ours.url.partition("127.0.0.1")[2].partition("/")[2])
        hook["url"] = ours.url
        hook["http_config"]["authorization"]["credentials_file"] = str(tmp_path / "token")
        receivers["people"]["webhook_configs"] = [{"url": peoples.url}]
        file["route"]["group_wait"] = "1s"
        sender = await alertmanager(file)
        watchdog = Alert({"alertname": "Watchdog", "severity": "none"})
        storm = Alert({"alertname": "StormOpen", "namespace": "shop", "request": "storm-1"})
        await sender.post([watchdog, storm, *pod_alerts("CrashLooping", 40, namespace="shop")])
        (delivery,) = await eventually(ours.taken)
        assert len(delivery.instances("firing")) == 40
        assert delivery.authorization == "Bearer of-the-tests"
        await eventually(peoples.counted, lambda seen: len(seen) == 42, what="people hear of all")
        [notified] = [it.body for it in peoples.deliveries if it.body["groupLabels"].get("request")]
        assert (notified["groupLabels"], len(notified["alerts"])) == (
            {"namespace": "shop", "request": "storm-1"},
            1,
        )
        assert len(ours.counted()) == 40, "nothing is said of the watchdog and of storms"


async def test_sender_may_create_signals_and_nothing_else(api: Api, kubectl: Kubectl, namespace: str) -> None:
    if await api.get("Namespace", "monitoring") is None:
        await kubectl("create", "namespace", "monitoring")

    async def may(verb: str, what: str) -> bool:
        return await kubectl.may(SENDER, verb, what, "-n", namespace)

    assert not await may("create", "signals.stormfold.dev")
    account, secret, role, binding = access()
    await dry_run(kubectl, [account, secret, role, binding])
    # In one namespace, by the command in the file; then in all.
    text = (ALERTMANAGER / "access.yaml").read_text()
    (command,) = re.findall(r"^#   kubectl (.*)$", text, re.MULTILINE)
    await kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all([account, role]))
    await kubectl(*command.replace(" shop ", f" {namespace} ").split())
    assert await may("create", "signals.stormfold.dev")
    assert not await may("delete", "signals.stormfold.dev")
    assert not await may("create", "remediationrequests.stormfold.dev")
    await kubectl("delete", "-n", namespace, "rolebinding", "stormfold-alerts")
    assert not await may("create", "signals.stormfold.dev")
    await kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(binding))
    assert await may("create", "signals.stormfold.dev")
    await kubectl("delete", "clusterrolebinding,clusterrole", "stormfold-alerts")
