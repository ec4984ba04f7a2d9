"""Methods of somebody else's object, watched for as long as a training lasts and then put back."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


class WatchedMethods:
    """Methods of objects, or of classes for all their objects, that are wrapped one by one and put back together."""

    def __init__(self) -> None:
        self._wrapped: list[tuple[Any, str, Any, dict[str, Any]]] = []

    def watch(self, owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> bool:
        """Put `wrap` of a method in its place, on this one object or class; False where it has no such method."""
        method = getattr(owner, name, None)
        if not callable(method):
            return False
        before = {name: vars(owner)[name]} if name in vars(owner) else {}
        wrapped = wraps(method)(wrap(method))
        setattr(owner, name, wrapped)
        self._wrapped.append((owner, name, wrapped, before))
        return True

    def put_back(self) -> None:
        """Take away the wraps that nobody has wrapped again since."""
        for owner, name, wrapped, before in reversed(self._wrapped):
            if vars(owner).get(name) is wrapped:
                delattr(owner, name)
                for own, method in before.items():
                    setattr(owner, own, method)
        self._wrapped.clear()
