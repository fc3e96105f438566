"""Look up what the configuration may hold at a path: which keys, and what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent.settings.root import Settings
from agent.settings.tree import Path

__all__ = ["Place", "fields_of", "members", "place_at", "tag_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the configuration. *steps* lead there in pydantic's words, *path* in those of the file."""

    steps: Path
    path: Path
    types: tuple[Any, ...]

    def keys(self) -> list[str]:
        """Return the keys that may stand here."""
        return sorted({key for model in self._models() for key in fields_of(model)})

    def description(self, key: str) -> str:
        """Return what *key* is for; empty when that is not known."""
        found = (fields_of(model)[key].description for model in self._models() if key in fields_of(model))
        return next((text for text in found if text), "")

    def _models(self) -> list[type[BaseModel]]:
        return [each for each in self.types if _is_model(each)]


def place_at(steps: Path) -> Place:
    """Return the place that *steps* lead to."""
    place = Place((), (), (Settings,))
    for step in steps:
        place = _below(place, step)
    return place


def _below(place: Place, step: int | str) -> Place:
    variant = tuple(each for each in place.types if len(place.types) > 1 and _is_model(each) and tag_of(each) == step)
    if variant:
        # The tag of a union stands in pydantic's words, and nowhere in the file.
        return Place((*place.steps, step), place.path, variant)
    types = tuple(member for each in place.types for member in _inside(each, step))
    return Place((*place.steps, step), (*place.path, step), types)


def _inside(annotation: Any, step: int | str) -> tuple[Any, ...]:
    if _is_model(annotation):
        field = fields_of(annotation).get(str(step))
        return members(field.annotation) if field else ()
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return members(arguments[1])
    if get_origin(annotation) in {tuple, list, frozenset}:
        return members(arguments[0])
    return ()


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of *model* by the key that stands in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the types that *annotation* joins, without their constraints."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(member for each in get_args(annotation) for member in members(each))
    return (annotation,)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def tag_of(model: type[BaseModel]) -> str:
    """Return the `type` that tells *model* from others; empty where it has none."""
    field = model.model_fields.get("type")
    arguments = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(arguments[0]) if arguments else ""
