"""How large the image is, and its base."""

from __future__ import annotations

from tests.image.engine import BASE, IMAGE, inspected

__all__ = ["megabytes"]


def megabytes() -> tuple[float, float]:
    image, base = (inspected(name)["Size"] / 1_000_000 for name in (IMAGE, BASE))
    return image, base
