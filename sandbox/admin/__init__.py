"""The sandbox's own API: move people, throw switches, look at requests."""

from sandbox.admin.app import admin_app

__all__ = ["admin_app"]
