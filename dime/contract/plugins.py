"""Plug-ins: a file in a package is a plug-in, and the file's name is the plug-in's name.

Other packages add theirs by entry points of the group ``dime.`` and the package's last name, such as ``dime.meters``:
``wattsup = my_package.wattsup`` makes the module my_package.wattsup the meter wattsup. A file in the package comes
first.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Dict, List, cast

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint  # novm

from dime.contract.errors import InputError, unknown


def names(package: ModuleType) -> List[str]:
    """Lists the plug-ins of a package.

    Args:
        package: An imported package.

    Returns:
        list: Sorted names; modules whose name starts with ``_`` are helpers, not plug-ins.
    """
    return sorted(set(_own(package)) | set(added(_kind(package))))


def check(package: ModuleType, name: str) -> None:
    """Makes sure that there is a plug-in of this name, without importing it.

    Args:
        package: An imported package.
        name: The plug-in's name.

    Raises:
        InputError: There is no such plug-in; the message lists those there are.
    """
    if name not in _own(package) and name not in names(package):
        raise unknown(_kind(package).rstrip("s"), name, names(package))


def load(package: ModuleType, name: str) -> ModuleType:
    """Imports one plug-in.

    Args:
        package: An imported package.
        name: The plug-in's name.

    Returns:
        module: The plug-in.

    Raises:
        InputError: There is no such plug-in, which lists those there are; or another package's cannot be imported.
    """
    check(package, name)
    entry = None if name in _own(package) else added(_kind(package)).get(name)
    if entry is None:
        return importlib.import_module(package.__name__ + "." + name)
    try:
        return cast(ModuleType, entry.load())
    except Exception as error:  # another package's code may raise anything
        raise InputError(
            "the {} '{}' ({}) cannot be imported: {}".format(_kind(package).rstrip("s"), name, entry.value, error)
        )


def _kind(package: ModuleType) -> str:
    return package.__name__.rsplit(".", 1)[-1]


def _own(package: ModuleType) -> List[str]:
    return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]


def added(kind: str) -> "Dict[str, EntryPoint]":
    """Finds what other packages add.

    Args:
        kind: ``meters``, ``boards`` and so on.

    Returns:
        dict: Entry points by name; none on a Python that cannot list them (before 3.8).
    """
    try:
        from importlib import metadata  # novm
    except ImportError:
        return {}
    group = "dime." + kind
    found = metadata.entry_points()
    chosen = found.select(group=group) if hasattr(found, "select") else found.get(group, ())
    return {entry.name: entry for entry in chosen}
