"""The sandbox's own API: change people, set options, read the request log."""

from sandbox.admin.app import admin_app

__all__ = ["admin_app"]
