"""The use case: read, plan, guard, apply, record. `planner` reads and plans, and can't write; `sync` applies."""
