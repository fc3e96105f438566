"""The chart's fan-out: one CronJob for each workspace or shard, with valid names that differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from agent.cli.app import app
from agent.errors import ExitCode
from agent.settings.merge import merge_trees
from tests.integration.test_helm_chart import CHART, KUBERNETES, LEAST, NAMESPACE, POSTGRES, RELEASE, pod, rendered

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
ALIKE = ("emea.north", "emea-north", "emea_north", "Emea-North", "Emea.North")
LONG = tuple(
    f"{'a-very-long-name-of-a-region-and-a-subsidiary-in-it' + '-' * (number % 3)}{number}" for number in range(45)
)
PLAIN = tuple(f"pigment-{number}" for number in range(150))
ALL = (*ALIKE, *LONG, *PLAIN)
FAN_OUT: dict[str, Any] = merge_trees(LEAST, {**POSTGRES, "mode": "cronjob", "fanOut": {"enabled": True}})


def with_workspaces(names: tuple[str, ...], **fan_out: Any) -> dict[str, Any]:
    (known,) = LEAST["config"]["workspaces"].values()
    workspaces = {name: {**known, "scim_url": f"https://{number}.example.com"} for number, name in enumerate(names)}
    config = {**FAN_OUT["config"], "workspaces": workspaces}
    return {**FAN_OUT, "config": config, "fanOut": {**FAN_OUT["fanOut"], **fan_out}}


def jobs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = helm.Chart.load(CHART).render(dict(values), name=RELEASE, namespace=NAMESPACE)
    return [each for each in yaml.load_all(files["pigment-sync/templates/fanout.yaml"], yaml.CSafeLoader) if each]


def arguments(job: Mapping[str, Any]) -> list[str]:
    (container,) = pod({"CronJob": dict(job)})["containers"]
    found: list[str] = container["args"]
    return found


def test_two_hundred_workspaces_get_a_job_each_with_a_valid_name_of_its_own() -> None:
    made = jobs(with_workspaces(ALL))

    names = [job["metadata"]["name"] for job in made]
    assert len(set(names)) == len(ALL) == 200
    assert all(len(name) <= 52 and LABEL.fullmatch(name) for name in names)
    assert sorted(arguments(job)[2] for job in made) == sorted(ALL)
    assert {tuple(arguments(job)[:2]) for job in made} == {("sync", "-w")}
    assert names[-1] == "pigment-sync-pigment-99", "a name that fits is shown whole"
    minutes = Counter(job["spec"]["schedule"] for job in made)
    assert len(minutes) == 15
    assert all(re.fullmatch(r"(\d|1[0-4])-59/15 \* \* \* \*", each) for each in minutes)
    assert max(minutes.values()) <= 40, "they do not all begin at once"


def test_names_and_minutes_stay_when_workspaces_come_and_go() -> None:
    def by_workspace(names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
        return {
            arguments(job)[2]: (job["metadata"]["name"], job["spec"]["schedule"])
            for job in jobs(with_workspaces(names))
        }

    few, more = by_workspace(ALIKE[:3]), by_workspace((*ALIKE, *LONG[:2], "aaa"))

    assert {name: more[name] for name in few} == few


@pytest.mark.parametrize("version", KUBERNETES)
def test_jobs_are_valid_for_kubernetes(version: str) -> None:
    full = with_workspaces(
        (ALIKE[0], LONG[0], PLAIN[0]),
        timeZone="Europe/Berlin",
        schedule="*/5 * * * *",
        resources={"limits": {"cpu": 1}},
    )
    for values in (with_workspaces((PLAIN[0],)), full):
        for job in jobs(values):
            assert job["metadata"]["namespace"] == NAMESPACE
            kubernetes_validate.validate(job, version, strict=True)


def test_each_of_many_jobs_is_valid_for_one_of_all_kubernetes_versions() -> None:
    """In turns, since the schemas are slow: each version has 20 of the 200 jobs, which differ in names and minutes."""
    versions = [f"1.{minor}" for minor in range(25, 35)]
    made = jobs(with_workspaces(ALL))
    assert len(made) == 200
    for number, job in enumerate(made):
        version = versions[number % len(versions)]
        assert kubernetes_validate.validate(job, version, strict=True) == version


def test_job_never_overlaps_itself_ends_in_time_and_is_retried_only_where_that_can_help() -> None:
    (job,) = jobs(with_workspaces((PLAIN[0],)))
    spec = job["spec"]["jobTemplate"]["spec"]

    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert (spec["activeDeadlineSeconds"], job["spec"]["startingDeadlineSeconds"], spec["backoffLimit"]) == (
        3600,
        300,
        1,
    )
    final, ignored = spec["podFailurePolicy"]["rules"]
    retried = {ExitCode.UNEXPECTED, ExitCode.INCOMPLETE}
    without_exit_code = {ExitCode.DONE, ExitCode.WOULD_CHANGE}
    assert set(final["onExitCodes"]["values"]) == set(map(int, ExitCode)) - retried - without_exit_code
    assert final["action"] == "FailJob"
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_shards_hold_each_workspace_once() -> None:
    made = jobs(with_workspaces(ALL, shardSize=30))

    assert [job["metadata"]["name"] for job in made] == [f"pigment-sync-shard-{number}" for number in range(7)]
    held = [word for job in made for word in arguments(job)[1:] if word != "-w"]
    assert sorted(held) == sorted(ALL)
    assert [job["metadata"]["annotations"]["pigment-sync/workspaces"].split() for job in made] == [
        [word for word in arguments(job)[1:] if word != "-w"] for job in made
    ]


def test_long_name_of_a_release_leaves_room_for_what_differs() -> None:
    values = {
        **with_workspaces((*LONG[:10], *PLAIN[:10])),
        "fullnameOverride": "identity-and-access-of-acme-in-all-its-regions-",
    }

    names = [job["metadata"]["name"] for job in jobs(values)]

    assert len(set(names)) == 20
    assert all(len(name) <= 52 and LABEL.fullmatch(name) for name in names)


def test_arguments_are_those_of_the_command() -> None:
    (job,) = jobs(with_workspaces(PLAIN[:1]))
    command, option, _ = arguments(job)
    assert option in CliRunner().invoke(app, [command, "--help"]).output.replace(",", " ").split()


def test_daemon_serves_the_page_beside_the_jobs_and_has_no_schedule() -> None:
    beside = {**with_workspaces(PLAIN[:1]), "mode": "daemon"}

    documents = rendered(beside)

    assert {"Deployment", "Service", "CronJob"} <= set(documents)
    assert documents["CronJob"]["metadata"]["name"] == "pigment-sync-pigment-0"


def test_resources_of_the_jobs_may_differ() -> None:
    small = {"requests": {"cpu": "50m"}}

    usual, other = (
        pod({"CronJob": jobs(with_workspaces(PLAIN[:1], **more))[0]})["containers"][0]["resources"]
        for more in ({}, {"resources": small})
    )

    assert usual["limits"] == {"memory": "512Mi"}
    assert other == small


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": {"persistence": {"enabled": True}}}, "fanOut: many Pods need PostgreSQL"),
        ({"fanOut": {"everyMinutes": 7}}, "everyMinutes"),
        ({"fanOut": {"shardSize": 0}}, "shardSize"),
        ({"fanOut": {"shards": 3}}, "shards"),
        (
            {"mode": "daemon", "config": {"workspaces": {"pigment-latam": {"schedule": {"every": "15m"}}}}},
            "fanOut: the daemon would run pigment-latam too",
        ),
        ({"mode": "daemon", "config": {"defaults": {"schedule": {"every": "15m"}}}}, "the daemon would run"),
    ],
)
def test_values_that_would_not_run_are_refused_by_name(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        rendered(merge_trees(FAN_OUT, change))


def test_lint_finds_nothing_but_the_missing_icon() -> None:
    result = helm.lint(CHART, with_workspaces(ALL), strict=True)
    assert result["errors"] == []
    assert [each["error"] for each in result["messages"]] == ["icon is recommended"]


def test_notes_name_the_jobs() -> None:
    notes = helm.Chart.load(CHART).render(FAN_OUT, name=RELEASE)["pigment-sync/templates/NOTES.txt"]
    assert "app.kubernetes.io/component=fan-out" in notes


def labels_of(values: Mapping[str, Any]) -> dict[str, str]:
    (job,) = jobs(values)
    found: dict[str, str] = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    return found


def test_daemons_service_and_disruption_budget_leave_out_the_jobs() -> None:
    values = merge_trees(
        with_workspaces(PLAIN[:1]), {"mode": "daemon", "replicas": 2, "podDisruptionBudget": {"enabled": True}}
    )
    documents = rendered(values)
    labels = labels_of(values)

    service, budget = documents["Service"]["spec"]["selector"], documents["PodDisruptionBudget"]["spec"]["selector"]
    for selector in (service, budget["matchLabels"]):
        assert not selector.items() <= labels.items()
    policy = documents["NetworkPolicy"]["spec"]["podSelector"]
    (names,) = policy["matchExpressions"]
    assert policy["matchLabels"].items() <= labels.items()
    assert labels[names["key"]] in names["values"]
