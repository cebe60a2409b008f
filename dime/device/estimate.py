"""How long a profile will take, from a short trial, and what would make it shorter."""

from typing import Callable, Iterable, List, NamedTuple, Sequence

from dime.contract.bundles import Bundle, enumerate_bundles

# What takes less is told nothing of.
LEAST_TOLD_S = 10.0

Shape = NamedTuple(
    "Shape",
    [
        ("iterations", int),
        ("runs", int),
        ("warmups", int),
        ("min_window_s", float),
        ("lead", float),
        ("waits", int),
        ("wait_s", float),
        ("beside_s", Callable[[float], float]),
    ],
)
Shape.__doc__ = """How often each bundle runs, and for how long at least: ``lead`` is the part of a window that what is
not counted takes, ``waits`` how many bundles of a pass run once more behind ``wait_s``, ``beside_s`` what a frequency
takes beside its passes, by the seconds of one run of the whole network.
"""


def bundle_s(one_s: float, shape: Shape) -> float:
    """Seconds of all runs of one bundle at one frequency.

    Args:
        one_s: Of one run.
        shape: How often.
    """
    uncounted = shape.warmups + (shape.min_window_s > 0)
    counted_s = max(one_s, shape.min_window_s)
    return shape.iterations * (uncounted * max(one_s, shape.lead * shape.min_window_s) + shape.runs * counted_s)


def profile_s(
    layers_s: Sequence[float], bundles: Iterable[Bundle], shape: Shape, frequencies_hz: Sequence[int], at_hz: int
) -> float:
    """Seconds of a profile, where a bundle takes the sum of its layers, and half the clock twice the time.

    Args:
        layers_s: Of one run of each layer by itself, in the trial.
        bundles: What is measured at each frequency.
        shape: How often.
        frequencies_hz: The frequencies.
        at_hz: The frequency of the trial.
    """
    ones = [sum(layers_s[bundle.first : bundle.last + 1]) for bundle in bundles]
    slower = [at_hz / float(hz) if hz > 0 and at_hz > 0 else 1.0 for hz in frequencies_hz]
    waits = min(shape.waits, len(ones))
    whole_s = sum(
        shape.beside_s(sum(layers_s) * by)
        + sum(bundle_s(one * by, shape) for one in ones)
        + shape.iterations * waits * sum(ones) * by / len(ones)
        for by in slower
    )
    return whole_s + len(slower) * shape.iterations * waits * shape.wait_s


def told(layers_s: Sequence[float], longest: int, shape: Shape, frequencies_hz: Sequence[int], at_hz: int) -> str:
    """The time and what would shorten it, in one line; empty where it is short.

    Args:
        layers_s: Of one run of each layer by itself, in the trial.
        longest: Layers of the largest bundle.
        shape: How often each bundle runs.
        frequencies_hz: The frequencies.
        at_hz: The frequency of the trial.
    """

    def seconds(shape: Shape, longest: int) -> float:
        return profile_s(layers_s, enumerate_bundles(len(layers_s), longest), shape, frequencies_hz, at_hz)

    whole_s = seconds(shape, longest)
    if whole_s < LEAST_TOLD_S:
        return ""
    text = "{} bundles x {} passes x {} runs".format(
        len(enumerate_bundles(len(layers_s), longest)), shape.iterations, shape.runs
    )
    if len(frequencies_hz) > 1:
        text += " x {} frequencies".format(len(frequencies_hz))
    text += " take about {}".format(spell_s(whole_s))
    ways: List[str] = []
    if shape.iterations > 4:
        half = shape.iterations // 2
        ways.append(
            "--iterations={} ({}, and wider intervals)".format(
                half, spell_s(seconds(shape._replace(iterations=half), longest))
            )
        )
    if longest > 2:
        ways.append("--max-layers={} ({})".format((longest + 1) // 2, spell_s(seconds(shape, (longest + 1) // 2))))
    return text + ("; shorter: " + " or ".join(ways) if ways else "")


def spell_s(seconds: float) -> str:
    """A time as a person says it: 70 s, 12 minutes, 3.5 hours."""
    if seconds < 100:
        return "{:.0f} s".format(seconds)
    return "{:.0f} minutes".format(seconds / 60) if seconds < 6000 else "{:.1f} hours".format(seconds / 3600)


def trial(runs: Iterable[Callable[[], float]]) -> List[float]:
    """Seconds of one run of each, after one that is not counted."""
    found = []
    for run in runs:
        run()
        found.append(run())
    return found
