"""PostgreSQL returns texts unchanged, even from a database created with SQL_ASCII."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import create_engine, text

from agent.model.run import Pause
from agent.store.state import SqlState
from tests.state_samples import NOW, Clock


async def test_database_without_an_encoding_is_spoken_to_in_utf8(postgres_server: str) -> None:
    name = f"plain_{uuid4().hex}"
    engine = create_engine(f"{postgres_server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
    engine.dispose()
    state = await SqlState.open(f"{postgres_server}/{name}", Clock().now)
    pause = Pause(NOW, "zoë@example.com", "Ørsted moves")
    await state.set_pause("pigment-latam", pause)
    assert await state.load_pause("pigment-latam") == pause
    await state.close()
