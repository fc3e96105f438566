"""Scheduled reports: when each is due, what it contains, and how it reaches its targets. Reads workspaces only."""
