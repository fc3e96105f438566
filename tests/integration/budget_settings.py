"""Settings with a small request budget on a state that processes share."""

from __future__ import annotations

from typing import Any

from agent.settings.root import Settings

__all__ = ["REQUESTS", "WINDOW_SECONDS", "budget_settings"]

REQUESTS, WINDOW_SECONDS = 24, 1.5


def budget_settings(state_url: str, **pigment: Any) -> Settings:
    return Settings.model_validate(
        {
            "state": {"url": state_url},
            "connectors": {"okta-main": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": "x"}},
            "workspaces": {
                "latam": {
                    "scim_url": "https://pigment.example.com/latam",
                    "tokens": ["x"],
                    "sources": [{"connector": "okta-main", "app": "0oa1"}],
                }
            },
            "pigment": {"requests_per_window": REQUESTS, "window_seconds": WINDOW_SECONDS, **pigment},
        }
    )
