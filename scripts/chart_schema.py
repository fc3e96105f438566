"""Embed the schema of the configuration in the chart's values.schema.json, so that Helm refuses invalid values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
VALUES = REPOSITORY / "deploy" / "helm" / "pigment-sync" / "values.schema.json"
CONFIG = REPOSITORY / "docs" / "config.schema.json"


def embedded() -> str:
    """Return the content of the file; references within the configuration's schema start at the root of the file."""
    values: dict[str, Any] = json.loads(VALUES.read_text("utf-8"))
    config: dict[str, Any] = json.loads(CONFIG.read_text("utf-8"))
    definitions = config.pop("$defs")
    config.pop("$schema")
    _refuse_plain_secrets(definitions)
    values["$defs"] = {"config": config, **definitions}
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _refuse_plain_secrets(definitions: dict[str, Any]) -> None:
    """Leave only files and variables for secrets: all values end in a ConfigMap, which many may read."""
    by_name = [each for each in definitions["Secret"]["anyOf"] if each["type"] == "object"]
    definitions["Secret"] |= {"description": "A secret: {env: NAME} or {file: PATH}.", "anyOf": by_name}
    url = definitions["StateSettings"]["properties"]["url"]
    # Without lookaheads, which Helm's regular expressions do not have.
    open_url = {"pattern": "^(sqlite:|postgresql[^/]*://([^:@/]*@)?[^@]*$)", "not": {"pattern": "[?&]password="}}
    hashed = {"type": "string", "pattern": "^(read|operate):.+:sha256:"}
    tokens = definitions["ServerSettings"]["properties"]["tokens"]
    tokens["items"] = {"anyOf": [tokens["items"], hashed]}
    url["anyOf"] = [{"$ref": url.pop("$ref")}, {"type": "string", **open_url}]


if __name__ == "__main__":
    VALUES.write_text(embedded(), "utf-8")
