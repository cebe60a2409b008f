"""Makes the small archive that later versions must pass, too: ``python -m tests.host.provenance.keep`` at a release."""

import os
import shutil
import tempfile
from pathlib import Path

from dime.host.provenance.make import Wanted, make
from tests.host.provenance.conftest import studied

KEPT = Path(__file__).parents[2] / "data" / "artifact"
STUDIES = ("results/plans/tiny/001", "results/plans/tiny/002")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chdir(studied(Path(place)))
        made = make(Wanted(STUDIES, "A small study, kept", ("Ada Example",), software=False))
        KEPT.mkdir(exist_ok=True)
        print(shutil.copy(made, KEPT))


if __name__ == "__main__":
    main()
