"""Other readers of the same people and members, for `compare` alone. They never feed a plan."""
