"""Write the bill of materials of a lock file, from the metadata of the installed packages.

Usage: sbom.py LOCK FILE. The environment may hold more than the lock names (it does where tests are run): only what
the lock names is listed. A package of the lock that is not installed, or in another version, ends it.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NAME = "pigment-sync"
Json = dict[str, Any]


def main(lock: Path, file: Path) -> None:
    """Write the bill of *lock* into *file*, once it is known to be valid."""
    bill = narrowed(of_environment(), locked(lock.read_text("utf-8")))
    text = json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        sys.exit(f"sbom: not valid: {error}")
    file.write_text(text, "utf-8")


def locked(lock: str) -> dict[str, str]:
    """Return the version of each package that *lock* installs on this machine."""
    lines = re.findall(r"^[\w.-]+==[^\\\n]*", lock, re.MULTILINE)
    found = [Requirement(line.strip()) for line in lines]
    return {
        str(canonicalize_name(each.name)): str(each.specifier).removeprefix("==")
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def of_environment() -> Json:
    """Return the bill of everything that is installed here, as cyclonedx-py writes it."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    options = ["--output-reproducible", "--sv", "1.6", "--no-validate", sys.executable]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stderr}sbom: cyclonedx-py ended with {done.returncode}")
    bill: Json = json.loads(done.stdout)
    return bill


def narrowed(bill: Json, versions: Mapping[str, str]) -> Json:
    """Return *bill* with nothing in it but pigment-sync and the packages of *versions*."""
    components = {str(canonicalize_name(each["name"])): each for each in bill["components"]}
    wrong = [name for name, version in versions.items() if components.get(name, {}).get("version") != version]
    if wrong:
        sys.exit(f"sbom: not installed as locked: {', '.join(wrong)}; run scripts/setup")
    kept = [_component(components[name]) for name in sorted(versions)]
    root = bill["metadata"]["component"]
    root["purl"] = f"pkg:pypi/{NAME}@{root['version']}"
    refs = {root["bom-ref"], *(each["bom-ref"] for each in kept)}
    edges = [
        {"ref": each["ref"], "dependsOn": sorted(refs.intersection(each.get("dependsOn", [])))}
        for each in bill["dependencies"]
        if each["ref"] in refs
    ]
    metadata = {"component": root, **{key: bill["metadata"][key] for key in ("timestamp",) if key in bill["metadata"]}}
    metadata["tools"] = {"components": [_tool(each) for each in bill["metadata"]["tools"]["components"]]}
    return bill | {"components": kept, "dependencies": edges, "metadata": metadata}


def _component(component: Json) -> Json:
    # The extras come from the whole environment, not from the lock.
    kept = {key: value for key, value in component.items() if key != "properties"}
    # cyclonedx-py drops a licence that is neither an SPDX expression nor a classifier: "3-Clause BSD License".
    free_text = importlib.metadata.metadata(component["name"]).get("License")
    if not kept.get("licenses") and free_text:
        kept["licenses"] = [{"license": {"name": free_text}}]
    return kept


def _tool(tool: Json) -> Json:
    return {key: tool[key] for key in ("type", "name", "version")}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
