"""What Prometheus reads: counters that the daemon moves, and gauges of how things stand."""
