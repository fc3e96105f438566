"""The Helm chart renders valid Kubernetes objects and a configuration that loads, and refuses invalid values."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from agent.settings.load import load
from agent.settings.merge import merge_trees
from agent.web.middleware import PROBE_PATHS
from tests.dashboard import DASHBOARD
from tests.guide_page import REPOSITORY, pages

Values = Mapping[str, Any]
CHART = REPOSITORY / "deploy" / "helm" / "pigment-sync"
# The oldest that Chart.yaml takes and the schemas know, and one of the newest.
KUBERNETES = ("1.25", "1.34")
RELEASE, NAMESPACE = "pigment-sync", "identity"
SECRETS = "/run/secrets/pigment-sync"
LEAST: dict[str, Any] = {
    "secrets": {"existingSecret": "pigment-sync"},
    "config": {
        "connectors": {
            "okta-main": {
                "type": "okta",
                "org_url": "https://acme.okta.com",
                "client_id": "0oa1",
                "private_key": {"file": f"{SECRETS}/okta.pem"},
            }
        },
        "workspaces": {
            "pigment-latam": {
                "scim_url": "https://latam.example.com/scim/v2",
                "tokens": [{"file": f"{SECRETS}/latam"}],
                "sources": [{"connector": "okta-main", "app": "0oa2"}],
            }
        },
        "server": {"tokens": [f"operate:ana@acme.com:sha256:{'0' * 64}"]},
    },
}
POSTGRES: dict[str, Any] = {
    "state": {"persistence": {"enabled": False}},
    "config": {"state": {"url": {"file": f"{SECRETS}/state-url"}}},
}
FULL: dict[str, Any] = {
    **POSTGRES,
    "config": {**POSTGRES["config"], "server": {"port": 9090, "public_url": "https://pigment-sync.acme.com"}},
    "replicas": 2,
    "image": {"digest": f"sha256:{'a' * 64}"},
    "imagePullSecrets": ["pull"],
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.acme.com:3128"}],
    "volumes": [{"name": "ca", "configMap": {"name": "acme-ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/etc/acme-ca", "readOnly": True}],
    "podAnnotations": {"acme.com/owner": "identity"},
    "podLabels": {"team": "identity"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "high",
    "runAsUser": None,
    "runAsGroup": None,
    "fsGroup": None,
    "serviceAccount": {"annotations": {"acme.com/role": "none"}},
    "service": {"annotations": {"acme.com/x": "y"}},
    "networkPolicy": {
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "postgres"}}}], "ports": [{"port": 5432}]}],
    },
    "podDisruptionBudget": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Identity"}},
}
CRON: dict[str, Any] = {"mode": "cronjob", "cronjob": {"timeZone": "Europe/Berlin"}}
SETS: dict[str, Values] = {
    "least": LEAST,
    "postgres": merge_trees(LEAST, POSTGRES),
    "full": merge_trees(LEAST, FULL),
    "cronjob": merge_trees(LEAST, CRON),
    "claimed": merge_trees(LEAST, {"state": {"persistence": {"existingClaim": "kept", "storageClass": "fast"}}}),
}


def rendered(values: Values) -> dict[str, dict[str, Any]]:
    """Return the objects that the chart renders from *values*, by kind; the dashboard's ConfigMap as `Dashboard`."""
    files = helm.Chart.load(CHART).render(dict(values), name=RELEASE, namespace=NAMESPACE)
    documents = [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.load_all(text, yaml.CSafeLoader)
        if document
    ]
    by_kind = {
        "Dashboard" if document["metadata"]["name"].endswith("-dashboard") else str(document["kind"]): document
        for document in documents
    }
    assert len(by_kind) == len(documents)
    return by_kind


def pod(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if "Deployment" in documents:
        spec: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]
    else:
        spec = documents["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture(params=SETS, scope="module")
def documents(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    return rendered(SETS[request.param])


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_lint_finds_nothing_but_the_missing_icon(values: Values) -> None:
    result = helm.lint(CHART, dict(values), strict=True)
    assert result["errors"] == []
    assert [each["error"] for each in result["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_documents_are_valid_for_kubernetes(documents: Mapping[str, dict[str, Any]], version: str) -> None:
    for kind, document in documents.items():
        assert document["metadata"]["namespace"] == NAMESPACE
        if kind not in {"ServiceMonitor", "PrometheusRule"}:
            kubernetes_validate.validate(document, version, strict=True)


def test_each_set_of_values_makes_what_it_asks_for() -> None:
    usual = {"ConfigMap", "ServiceAccount", "NetworkPolicy"}
    made = {name: set(rendered(values)) - usual for name, values in SETS.items()}
    assert made == {
        "least": {"Deployment", "Service", "PersistentVolumeClaim"},
        "postgres": {"Deployment", "Service"},
        "full": {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule", "Dashboard"},
        "cronjob": {"CronJob", "PersistentVolumeClaim"},
        "claimed": {"Deployment", "Service"},
    }


def test_configuration_of_the_configmap_loads(documents: Mapping[str, dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(documents["ConfigMap"]["data"]["config.yaml"], "utf-8")
    settings = load(file, {"STATE_DIRECTORY": "/var/lib/pigment-sync"})
    assert list(settings.workspaces) == ["pigment-latam"]
    if "Deployment" in documents:
        (port,) = pod(documents)["containers"][0]["ports"]
        assert (settings.server.host, settings.server.port) == ("0.0.0.0", port["containerPort"])  # noqa: S104
    has_volume = any(volume["name"] == "state" for volume in pod(documents)["volumes"])
    assert has_volume == (settings.state.place.inline_value == "sqlite:////var/lib/pigment-sync/state.db")


def test_pods_meet_the_restricted_standard(documents: Mapping[str, dict[str, Any]]) -> None:
    """Pod Security Standards, restricted: the fields that it asks of a Pod without privileges."""
    spec = pod(documents)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"].get("runAsUser") != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= {
        "configMap",
        "emptyDir",
        "persistentVolumeClaim",
        "secret",
    }
    assert spec["terminationGracePeriodSeconds"] > 30, "a stop takes up to 30 seconds"


def test_probes_ask_for_what_the_daemon_answers() -> None:
    container = pod(rendered(LEAST))["containers"][0]
    probed = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probed == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert set(probed.values()) <= PROBE_PATHS


def test_service_sends_a_visitor_to_any_replica() -> None:
    service = rendered(merge_trees(merge_trees(LEAST, POSTGRES), {"replicas": 2}))["Service"]
    assert "sessionAffinity" not in service["spec"]


def test_replicas_prefer_different_nodes_unless_an_affinity_is_set() -> None:
    (term,) = pod(rendered(merge_trees(merge_trees(LEAST, POSTGRES), {"replicas": 2})))["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    selected = rendered(merge_trees(merge_trees(LEAST, POSTGRES), {"replicas": 2}))["Deployment"]["spec"]["selector"][
        "matchLabels"
    ]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == selected
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert "affinity" not in pod(rendered(merge_trees(LEAST, POSTGRES)))
    own: dict[str, Any] = {"nodeAffinity": {}}
    assert pod(rendered(merge_trees(merge_trees(LEAST, POSTGRES), {"replicas": 2, "affinity": own})))["affinity"] == own


def test_one_volume_is_never_held_by_two_pods() -> None:
    assert rendered(LEAST)["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    spec = rendered(SETS["cronjob"])["CronJob"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod(rendered(SETS["claimed"]))["volumes"][2] == {
        "name": "state",
        "persistentVolumeClaim": {"claimName": "kept"},
    }


def test_nothing_gets_in_and_only_https_gets_out_by_default() -> None:
    usual = rendered(LEAST)["NetworkPolicy"]["spec"]
    assert usual["ingress"] == []
    assert [port["port"] for rule in usual["egress"] for port in rule["ports"]] == [53, 53, 443]
    full = rendered(SETS["full"])["NetworkPolicy"]["spec"]
    assert full["ingress"][0]["ports"] == [{"port": 9090, "protocol": "TCP"}]
    assert full["egress"][-1]["ports"] == [{"port": 5432}]


def test_rules_are_those_of_the_deployment_and_the_job_is_the_one_they_know() -> None:
    documents = rendered(SETS["full"])
    rules = (REPOSITORY / "deploy" / "alerts.yaml").read_text("utf-8")
    assert (CHART / "files" / "alerts.yaml").read_text("utf-8") == rules
    assert documents["PrometheusRule"]["spec"] == yaml.load(rules, yaml.CSafeLoader)
    (endpoint,) = documents["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "pigment-sync"}]
    (port,) = documents["Service"]["spec"]["ports"]
    assert endpoint["port"] == port["name"]


def test_dashboard_is_that_of_the_deployment_and_has_the_label_that_the_sidecar_searches() -> None:
    dashboard = DASHBOARD.read_text("utf-8")
    assert (CHART / "files" / "dashboard.json").read_text("utf-8") == dashboard
    document = rendered(SETS["full"])["Dashboard"]
    assert json.loads(document["data"]["pigment-sync.json"]) == json.loads(dashboard)
    assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert document["metadata"]["annotations"] == {"grafana_folder": "Identity"}
    assert "Dashboard" not in rendered(merge_trees(SETS["cronjob"], {"dashboard": {"enabled": True}}))


def test_image_is_pinned_by_its_digest_where_one_is_given() -> None:
    assert pod(rendered(LEAST))["containers"][0]["image"] == "pigment-sync:0.1.0"
    assert pod(rendered(SETS["full"]))["containers"][0]["image"] == f"pigment-sync:0.1.0@sha256:{'a' * 64}"


def test_versions_are_those_of_the_project() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    chart = helm.Chart.load(CHART)
    assert f'version = "{chart.version}"' in project
    assert chart.metadata["appVersion"] == chart.version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"replica": 2}, "replica"),
        ({"mode": "deamon"}, "mode"),
        ({"secrets": {"token": "s3cret"}}, "token"),
        ({"image": {"digest": "sha256:abc"}}, "digest"),
        ({"config": {"workspaces": {"pigment-latam": {"modus": "enforce"}}}}, "modus"),
        ({"config": {"server": {"tokens": []}}}, "config.server: set tokens or oidc"),
        ({"replicas": 2}, "replicas: more than one daemon needs PostgreSQL"),
        ({"state": {"persistence": {"enabled": False}}}, "config.state.url: without state.persistence"),
        (
            {"state": {"persistence": {"enabled": False}}, "config": {"state": {"url": "sqlite:////tmp/state.db"}}},
            "config.state.url: without state.persistence",
        ),
        ({"config": {"workspaces": {"pigment-latam": {"tokens": ["a-real-token"]}}}}, "tokens"),
        ({"config": {"connectors": {"okta-main": {"private_key": "-----BEGIN PRIVATE KEY-----"}}}}, "private_key"),
        ({"config": {"state": {"url": "postgresql+psycopg://sync:hunter2@db/sync"}}}, "url"),
        ({"config": {"state": {"url": "postgresql+psycopg://db/sync?password=hunter2"}}}, "url"),
        ({"config": {"server": {"tokens": ["pgs_a-real-token"]}}}, "tokens"),
        ({"config": {"notify": {"urls": ["json://bot:hunter2@acme.com/hook"]}}}, "urls"),
        ({"env": [{"name": "PIGMENT_SYNC__SERVER__PORT", "value": "9090"}]}, "set it in config instead"),
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "propertyName"),
    ],
)
def test_values_that_would_not_run_are_refused_by_name(change: Values, message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        rendered(merge_trees(LEAST, change))


def test_names_of_digits_stay_names() -> None:
    odd = merge_trees(
        LEAST, {"secrets": {"existingSecret": "123"}, "imagePullSecrets": ["0123"], "fullnameOverride": "2024"}
    )
    documents = rendered(odd)
    names = [volume["secret"]["secretName"] for volume in pod(documents)["volumes"] if "secret" in volume]
    assert names == ["123"]
    assert pod(documents)["imagePullSecrets"] == [{"name": "0123"}]
    assert {document["metadata"]["name"] for document in documents.values()} == {"2024"}
    for document in documents.values():
        kubernetes_validate.validate(document, KUBERNETES[-1], strict=True)


def test_database_without_a_password_may_stand_in_the_open() -> None:
    url = "postgresql+psycopg://sync@db.acme.com/sync"
    assert rendered(merge_trees(LEAST, {**POSTGRES, "config": {"state": {"url": url}}}))


def test_chart_without_a_configuration_is_refused() -> None:
    with pytest.raises(helm.HelmError, match="connectors"):
        rendered({})


def test_schema_of_the_values_holds_the_schema_of_the_configuration() -> None:
    writer = runpy.run_path(str(REPOSITORY / "scripts" / "chart_schema.py"))
    assert writer["embedded"]() == writer["VALUES"].read_text("utf-8"), "run scripts/config-docs"


def test_values_of_the_guide_render() -> None:
    (guide,) = (page for page in pages() if page.name == "docs/kubernetes.md")
    shown = [yaml.load(block.text, yaml.CSafeLoader) for block in guide.blocks if block.mark == "values"]
    assert len(shown) == sum(block.language == "yaml" for block in guide.blocks)
    for values in shown:
        assert rendered(merge_trees(LEAST, values))


def test_notes_name_commands_that_exist() -> None:
    for values in (LEAST, SETS["cronjob"]):
        notes = helm.Chart.load(CHART).render(dict(values), name=RELEASE)["pigment-sync/templates/NOTES.txt"]
        assert "pigment-sync" in notes
        assert "secrets.existingSecret is not set" not in notes
