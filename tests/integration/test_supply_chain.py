"""The release matches the locks: locks, reasons, bill of materials, and a reproducible wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.sbom import locked, narrowed, of_environment
from tests.copied_source import copy_source
from tests.programs import require

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
IN_IMAGE = ("postgres", "oidc", "s3", "otel", "scim2-client")
RUNS = [*PROJECT["project"]["dependencies"], *(each for extra in IN_IMAGE for each in EXTRAS[extra])]
BUILDS = [*PROJECT["build-system"]["requires"], *(ROOT / "build.in").read_text("utf-8").split()]
READS_AGAIN = (ROOT / "second-readers.in").read_text("utf-8").split()
ASKED = {
    "requirements.lock": RUNS,
    "dev.lock": [*RUNS, *EXTRAS["dev"]],
    "build.lock": BUILDS,
    "second-readers.lock": READS_AGAIN,
}
SOURCE = ("agent", "connectors", "sandbox", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "scripts")
INSTALLS = ["scripts/setup", "scripts/second-readers", "Dockerfile", "docs/systemd.md", "docs/releasing.md"]
EPOCH = "1700000000"


def name_of(requirement: str) -> str:
    return str(canonicalize_name(Requirement(requirement).name))


def entries(lock: str) -> dict[str, str]:
    """Return the entries of a lock: the text of each package's entry, by its name."""
    parts = re.split(r"^(?=[\w.-]+==)", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)
    return {str(canonicalize_name(part.partition("==")[0])): part for part in parts if part.strip()}


def version(entry: str) -> str:
    found = re.match(r"[\w.-]+==(\S+)", entry)
    assert found is not None, entry
    return found[1]


@pytest.mark.parametrize("file", INSTALLS)
def test_what_installs_a_lock_resolves_nothing(file: str) -> None:
    """An old pip refuses a pinned `x` that another package wants as `x[extra]` as soon as there is a newer `x`."""
    commands = (ROOT / file).read_text("utf-8").replace("\\\n", " ").splitlines()
    installs = [line for line in commands if "--require-hashes" in line]
    assert installs
    assert [line for line in installs if "--no-deps" not in line] == []


@pytest.mark.parametrize("lock", ASKED)
def test_lock_has_what_the_project_asks_for_in_a_version_that_fits(lock: str) -> None:
    have = entries(lock)
    requirements = [Requirement(each) for each in ASKED[lock]]
    wrong = [
        str(each)
        for each in requirements
        if (entry := have.get(str(canonicalize_name(each.name)))) is None
        or not each.specifier.contains(version(entry), prereleases=True)
    ]
    assert wrong == []


@pytest.mark.parametrize("lock", ASKED)
def test_every_entry_of_a_lock_has_its_hash(lock: str) -> None:
    bare = [name for name, entry in entries(lock).items() if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    assert bare == []
    assert len(entries(lock)) > 5


@pytest.mark.parametrize("lock", ASKED)
def test_lock_names_no_host(lock: str) -> None:
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links", (ROOT / lock).read_text("utf-8"))


def test_what_runs_is_tested_in_the_version_that_runs() -> None:
    dev = entries("dev.lock")
    assert [name for name, entry in entries("requirements.lock").items() if version(dev[name]) != version(entry)] == []


def reasons() -> set[str]:
    """Return the packages that docs/dependencies.md names: in the table, or among those for tests."""
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| [^|]{10,} \|$", text, re.MULTILINE)
    cells = [re.sub(r"\(.*?\)|\[.*?\]", "", name).strip() for row in rows for name in row.split(",")]
    return {str(canonicalize_name(name)) for name in cells if re.fullmatch(r"[\w.-]+", name)}


def test_every_dependency_that_runs_has_its_reason() -> None:
    assert {name_of(each) for each in RUNS} - reasons() == set()


def test_every_reason_is_of_a_dependency() -> None:
    assert reasons() - {"package"} - {name_of(each) for each in RUNS} == set()


def test_every_dependency_of_the_tests_has_its_reason() -> None:
    prose = (ROOT / "docs" / "dependencies.md").read_text("utf-8").partition("For tests:")[2]
    digests = {str(canonicalize_name(each)) for each in re.findall(r"[A-Za-z][\w-]*[A-Za-z0-9]", prose)}
    # Plug-ins of pytest stand in its parentheses; types go with the package that they are of.
    short = {name_of(each): name_of(each).removeprefix("pytest-").removeprefix("types-") for each in EXTRAS["dev"]}
    missing = {name for name, digest in short.items() if name not in digests and digest not in digests}
    assert missing <= {"types-pyyaml"}


def test_every_second_reader_has_its_reason_and_is_kept_out_of_the_other_locks() -> None:
    prose = (ROOT / "docs" / "dependencies.md").read_text("utf-8").partition("scripts/second-readers")[2]
    for reader in map(name_of, READS_AGAIN):
        assert reader in prose
        assert [lock for lock in ASKED if reader in entries(lock)] == ["second-readers.lock"]


def sbom(lock: Path, file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/sbom.py", str(lock), str(file)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the bill of what runs; the script itself has held it against the schema."""
    file = tmp_path_factory.mktemp("sbom") / "bom.json"
    done = sbom(ROOT / "requirements.lock", file)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


@pytest.fixture
def environment_bill(scanned: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scanned)
    return found


@pytest.fixture(scope="module")
def scanned() -> str:
    """Return the bill of all that is installed here, from a scan of its own."""
    return json.dumps(of_environment())


def test_bill_lists_exactly_what_the_lock_installs_here(bill: dict[str, Any]) -> None:
    wanted = {}
    for name, entry in entries("requirements.lock").items():
        requirement = Requirement(entry.partition("\\")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate():
            wanted[name] = version(entry)
    assert {str(canonicalize_name(each["name"])): each["version"] for each in bill["components"]} == wanted
    assert len(wanted) > 30
    assert not {"pytest", "mkdocs", "hatchling"} & set(wanted)


def test_bill_lists_licences_and_dependencies(bill: dict[str, Any]) -> None:
    assert [each["name"] for each in bill["components"] if not each.get("licenses")] == []
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("pigment-sync", PROJECT["project"]["version"])
    [needs] = [each["dependsOn"] for each in bill["dependencies"] if each["ref"] == root["bom-ref"]]
    named = {str(canonicalize_name(ref.partition("==")[0])) for ref in needs}
    assert named == {name_of(each) for each in RUNS}


def test_bill_has_neither_time_nor_place_of_its_creation(bill: dict[str, Any]) -> None:
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert "file:" not in json.dumps(bill)
    assert str(ROOT) not in json.dumps(bill)


def test_bill_is_the_same_each_time(bill: dict[str, Any], environment_bill: dict[str, Any]) -> None:
    second = narrowed(environment_bill, locked((ROOT / "requirements.lock").read_text("utf-8")))
    assert json.dumps(second, sort_keys=True) == json.dumps(bill, sort_keys=True)


def test_bill_is_not_written_where_the_environment_is_not_the_lock(environment_bill: dict[str, Any]) -> None:
    lock = "click==0.0.1 \\\n    --hash=sha256:0\nnowhere-to-be-found==1\n"
    with pytest.raises(SystemExit, match="click, nowhere-to-be-found; run scripts/setup"):
        narrowed(environment_bill, locked(lock))


def copied(folder: Path, mode: int, when: float) -> Path:
    """Copy the source as on another machine: in another path, with other file modes and other times."""
    for name in SOURCE:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            copy_source(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copyfile(ROOT / ".gitignore", folder / ".gitignore")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.chmod(mode)
            os.utime(path, (when, when))
    return folder


def wheel(source: Path, out: Path, umask: int) -> dict[str, str]:
    environ = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
    command = [sys.executable, str(source / "scripts" / "wheel.py"), str(out)]
    done = subprocess.run(command, check=True, env=environ, capture_output=True, text=True, umask=umask)
    return {name: digest for digest, _, name in (line.partition("  ") for line in done.stdout.splitlines())}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, str]]]:
    """Return the folders of two builds of one source, and the digests that each printed."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    first = copied(one / "source", 0o644, 1_600_000_000)
    second = copied(two / "deeper" / "down" / "source", 0o600, 1_650_000_000)
    return [(one, wheel(first, one, 0o022)), (two, wheel(second, two, 0o077))]


def test_two_builds_give_the_same_bytes(builds: list[tuple[Path, dict[str, str]]]) -> None:
    (one, digests), (two, again) = builds
    release = f"pigment_sync-{PROJECT['project']['version']}"
    assert set(digests) == {f"{release}-py3-none-any.whl", f"{release}.tar.gz"}
    assert digests == again
    for name in digests:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_wheel_holds_the_product_and_nothing_else(builds: list[tuple[Path, dict[str, str]]]) -> None:
    folder, digests = builds[0]
    [name] = [name for name in digests if name.endswith(".whl")]
    with zipfile.ZipFile(folder / name) as archive:
        inside = set(archive.namelist())
        dates = {each.date_time[0] for each in archive.infolist()}
        [metadata] = [archive.read(each).decode() for each in inside if each.endswith("/METADATA")]
    tops = {each.partition("/")[0] for each in inside}
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {top for top in tops if not top.endswith(".dist-info")} == set(packages)
    wanted = {str(path.relative_to(ROOT)) for top in packages for path in (ROOT / top).rglob("*.py")}
    assert wanted <= inside
    assert not [each for each in inside if "__pycache__" in each or each.endswith((".pyc", ".db"))]
    assert dates == {2023}
    assert "License-Expression: Apache-2.0" in metadata


def test_wheel_installs_a_command_and_has_the_extras_that_the_guide_names(
    builds: list[tuple[Path, dict[str, str]]],
) -> None:
    folder, digests = builds[0]
    [name] = [name for name in digests if name.endswith(".whl")]
    with zipfile.ZipFile(folder / name) as wheel:
        [scripts] = [wheel.read(each).decode() for each in wheel.namelist() if each.endswith("/entry_points.txt")]
        [metadata] = [wheel.read(each).decode() for each in wheel.namelist() if each.endswith("/METADATA")]
    assert scripts.split() == ["[console_scripts]", "pigment-sync", "=", "agent.__main__:main"]
    extras = set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE)) - {"dev"}
    [sentence] = re.findall(
        r"In brackets are extras: (.+)\.$", (ROOT / "docs/releasing.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(re.findall(r"`([\w-]+)`", sentence)) == extras


def test_source_distribution_has_one_folder(builds: list[tuple[Path, dict[str, str]]]) -> None:
    folder, digests = builds[0]
    [name] = [name for name in digests if name.endswith(".tar.gz")]
    with tarfile.open(folder / name) as archive:
        members = archive.getmembers()
    assert {each.name.partition("/")[0] for each in members} == {name.removesuffix(".tar.gz")}
    assert {(each.uid, each.gid, each.mtime) for each in members} == {(0, 0, int(EPOCH))}


def test_build_outside_a_repository_asks_for_its_time(tmp_path: Path) -> None:
    copied(tmp_path / "source", 0o644, 1_600_000_000)
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, str(tmp_path / "source" / "scripts" / "wheel.py"), str(tmp_path / "out")]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("wheel: this is not a repository; set SOURCE_DATE_EPOCH")


def test_what_is_not_committed_is_not_in_the_wheel(tmp_path: Path) -> None:
    git = require("git")
    tree = copied(tmp_path / "source", 0o644, 1_600_000_000)
    words = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "All")):
        subprocess.run([git, "-C", str(tree), *words, *command], check=True)
    (tree / "agent" / "stray.py").write_text("", "utf-8")
    digests = wheel(tree, tmp_path / "out", 0o022)
    [name] = [name for name in digests if name.endswith(".whl")]
    with zipfile.ZipFile(tmp_path / "out" / name) as archive:
        assert "agent/__main__.py" in archive.namelist()
        assert "agent/stray.py" not in archive.namelist()
