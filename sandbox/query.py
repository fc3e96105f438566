"""Hold queries to what the pretend systems model. The real ones ignore what they do not know, which hides mistakes."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import QueryParams

__all__ = ["query_problem"]


def query_problem(query: QueryParams, known: Collection[str], checked_later: Collection[str] = ()) -> str:
    """Return what is wrong with a query, empty for nothing: a parameter that is not *known*, doubled or without value.

    The values of parameters that are *checked_later* are left alone.
    """
    names = [name for name, _ in query.multi_items()]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        return f"The query parameter '{unknown}' is not supported here."
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        return f"The query parameter '{doubled}' occurs twice."
    empty = next((name for name, value in query.items() if not value.strip() and name not in checked_later), None)
    return "" if empty is None else f"The query parameter '{empty}' has no value."
