"""Telling people when the state of a workspace changes: one notice for each change of state, not for each run."""
