"""The use case: read, decide, guard, apply, record. `survey` reads and decides, and can't write; `sync` applies."""
