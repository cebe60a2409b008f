"""``python PLACE/dime/entry.py device WORD...`` is ``python -m dime.device WORD...`` of that place, from any folder.

``-m`` looks first into the folder one is in: there the clone itself, or a file called like a module of Python, shadows
what is meant.
"""

import sys


def main():
    """Runs the side that the first word names; the rest are its arguments."""
    ours, _, _ = __file__.rpartition("/")
    sys.path[:] = [place for place in sys.path if place not in ("", ours)]
    import runpy

    place, _, _ = ours.rpartition("/")
    sys.path.insert(0, place)
    import dime  # noqa: F401  from here on its modules are found by its own path

    sys.path.remove(place)
    runpy.run_module("dime." + sys.argv.pop(1), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
