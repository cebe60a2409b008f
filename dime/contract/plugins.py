"""Plug-ins: a file in a package is a plug-in, and the file's name is the plug-in's name."""

import importlib
import pkgutil

from dime.contract.errors import unknown


def names(package):
    """Lists the plug-ins of a package.

    Args:
        package: An imported package.

    Returns:
        list: Sorted names; modules whose name starts with ``_`` are helpers, not plug-ins.
    """
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def check(package, name):
    """Makes sure that there is a plug-in of this name, without importing it.

    Args:
        package: An imported package.
        name: The plug-in's name.

    Raises:
        InputError: There is no such plug-in; the message lists those there are.
    """
    if name not in names(package):
        raise unknown(package.__name__.rsplit(".", 1)[-1].rstrip("s"), name, names(package))


def load(package, name):
    """Imports one plug-in.

    Args:
        package: An imported package.
        name: The plug-in's name.

    Returns:
        module: The plug-in.

    Raises:
        InputError: There is no such plug-in; the message lists those there are.
    """
    check(package, name)
    return importlib.import_module(package.__name__ + "." + name)
