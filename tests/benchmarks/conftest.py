"""Where benchmarks put their figures: on the terminal, and all of a run into one file."""

from pathlib import Path

import pytest

FIGURES = Path(__file__).resolve().parents[2] / "build" / "benchmarks.txt"


@pytest.fixture(scope="session")
def figures_file():
    """The file, empty: what a run says is its own."""
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text("")
    return FIGURES


@pytest.fixture
def figures(figures_file, capsys):
    """Tells a line of figures."""

    def tell(line):
        with capsys.disabled():
            print(f"\n{line}", flush=True)
        with figures_file.open("a") as stream:
            print(line, file=stream)

    return tell
