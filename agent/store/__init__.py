"""Remember links, leases and the journal in one database: SQLite or PostgreSQL. The one place that speaks SQL."""
