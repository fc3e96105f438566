"""The HTTP side of the daemon: page, API, health and metrics. It reads the state and asks the desk, no more."""
