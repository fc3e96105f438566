"""The daemon: schedules, one-off requests, reload and a gentle end."""
