"""Parts that can be added from outside: heads, runtimes, and whatever else has a table.

What is built in stands in a table, name -> `"module:attribute"`, imported when first asked for. Everything else comes
from the entry points of installed packages; a built-in name cannot be taken by a package. Listing the names loads
nothing, and a broken package is complained about when its part is asked for, and only then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from models.errors import BundleError, ModelFailed


def names(group: str, built_in: Mapping[str, str]) -> list[str]:
    """Every name that `find` knows, sorted: built in, or offered by an installed package in the entry-point `group`."""
    return sorted({*built_in, *(point.name for point in entry_points(group=group))})


def find(group: str, built_in: Mapping[str, str], name: str) -> Any:
    """The class (or whatever stands there) that `name` means.

    Raises `BundleError` for a name that nobody offers, `ModelFailed` where two packages offer it or where the package
    that does cannot be imported.
    """
    if name in built_in:
        module, _, attribute = built_in[name].partition(":")
        return getattr(import_module(module), attribute)
    point = _offer(group, built_in, name)
    with _blaming(point):
        return point.load()


def create(group: str, built_in: Mapping[str, str], name: str, needs: Sequence[str] = ()) -> Any:
    """One new instance of what `find` finds, made without arguments. `needs`: attributes that it must have.

    Raises what `find` raises, and `ModelFailed` where the part of a package cannot be made or lacks an attribute.
    """
    if name in built_in:
        return find(group, built_in, name)()
    point = _offer(group, built_in, name)
    with _blaming(point):
        instance = point.load()()
        missing = [attribute for attribute in needs if not hasattr(instance, attribute)]  # asks properties, too
    if missing:
        raise ModelFailed(
            f"{_package(point)} offers '{name}' in {group}, but {point.value} has no {' and no '.join(missing)}; "
            f"it needs {', '.join(needs)}."
        )
    return instance


def _offer(group: str, built_in: Mapping[str, str], name: str) -> EntryPoint:
    """The one entry point called `name`."""
    offers = list(entry_points(group=group, name=name))
    if not offers:
        raise BundleError(
            f"There is no '{name}' in {group}; known are {', '.join(names(group, built_in))}. "
            f"An installed package can add it with an entry point in the group {group}."
        )
    if len(offers) > 1:
        packages = " and ".join(sorted(_package(point) for point in offers))
        raise ModelFailed(f"{packages} both offer '{name}' in {group}; remove all but one of them.")
    return offers[0]


@contextmanager
def _blaming(point: EntryPoint) -> Iterator[None]:
    """Name the package in whatever goes wrong inside. Its code is not ours: it may raise anything, even exit."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelFailed(
            f"{_package(point)} offers '{point.name}' in {point.group}, but {point.value} cannot be used: "
            f"{type(error).__name__}: {error}. Repair, update or remove that package."
        ) from error


def _package(point: EntryPoint) -> str:
    """What people call the package of an entry point: `colour-blobs 1.0`."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else f"the package of {point.value}"
