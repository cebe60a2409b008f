"""Makes the small archive as another machine would: ``python elsewhere.py UMASK OUT`` in a folder that has results.

Nothing of the tests is imported: any Python that has DIME's own libraries runs it.
"""

import contextlib
import locale
import os
import sys

from dime.host.provenance import make

STUDIES = ("results/plans/tiny/001", "results/plans/tiny/002")


def main(mask: str, out: str) -> None:
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    os.umask(int(mask, 8))
    make._prove = lambda *_: None  # who asked for it checks it
    print(make.make(make.Wanted(STUDIES, "A small study", ("Ada Example",), out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
