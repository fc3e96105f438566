"""What Alembic runs to bring a database up to date, within the transaction that it is handed."""

from alembic import context

from agent.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
