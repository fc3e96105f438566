"""Notifications when the condition of a workspace changes: one per change, not one per run."""
