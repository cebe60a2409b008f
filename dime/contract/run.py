"""A run's folder: the names of its files, and run.json, which says everything about how its numbers came to be."""

import json
import os
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Union

from dime.contract import emulation, files, schemas
from dime.contract.errors import InputError, TableError
from dime.contract.quantities import whole

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    from dime.contract.surroundings import Noted

    Around = TypedDict("Around", {"start": Noted, "end": Noted}, total=False)

    Change = TypedDict(
        "Change", {"frequency_hz": int, "from_hz": int, "start_ns": int, "read_back_s": float, "steady_s": float}
    )

    class Session(TypedDict, total=False):
        """One entry of ``sessions`` in run.json."""

        rows: int
        start_ns: int
        started_utc: str
        boot_id: Optional[str]
        clocks: List[Mapping[str, object]]
        surroundings: Around
        meter: Optional[Dict[str, str]]
        changes: List[Change]
        image: str


Options = Mapping[str, Any]  # Any: options as a command line or a lab file gives them; `check_options` looks at them.

IMAGE_VARIABLE = "DIME_IMAGE"  # in a container: its image, NAME@DIGEST
RUN = "run.json"
TIMINGS = "timings.csv"
POWER = "power.csv"
ENCODINGS = "encodings.csv"
OVERHEADS = "overheads.csv"
CLOCK = "clock.json"
LEDGER = "clocks_to_restore.json"
JOINT_PROFILE = "joint_profile.parquet"
JOINT_QUALITY = "joint_quality.json"
FRONTIER = "frontier.parquet"
PLAN = "plan.json"
REPORT = "report.html"
REQUEST = "request.json"

# What the device side writes; all else is made on the lab's computer.
FROM_DEVICE = (RUN, TIMINGS, ENCODINGS, OVERHEADS, CLOCK, LEDGER)

# For which run.json speaks.
TABLES = {TIMINGS: schemas.TIMINGS, ENCODINGS: schemas.ENCODINGS, OVERHEADS: schemas.OVERHEADS}

ORIGINS = ("measured", "replayed", "emulated", "modelled")  # the later, the further from a measurement

# Field of run.json -> what it holds. Two runs may share a table only if all of these are equal.
SPEC_FIELDS = OrderedDict(
    [
        ("network", "network's name"),
        ("layers", "names of all its layers, in order"),
        ("device", "name of the device, as in the lab file"),
        ("board", "kind of board: the plug-in that fixed the frequencies"),
        ("processor", "cuda or cpu"),
        ("threads", "CPU threads asked for; 0 leaves it to the tensor library"),
        ("frequencies_hz", "frequencies profiled; [-1] where the board's clock is left alone"),
        ("max_layers", "largest bundle profiled"),
        ("iterations", "passes over all bundles"),
        ("runs", "timed runs of each bundle in a pass"),
        ("warmups", "runs before them that are not counted"),
        ("min_window_s", "least length of a row's window; 0: every row is one run"),
        ("seed", "seed of the order of bundles in each pass"),
        ("weights", "pretrained, file <hash>, or seeded <seed>"),
        ("samples", "hash of the feature maps' manifest"),
    ]
)
OBSERVED_FIELDS = OrderedDict(
    [
        ("origin", "measured, replayed, emulated or modelled"),
        (
            "power_model",
            "what a formula takes the device to draw, for where no meter is: watts (hertz -> W), idle_watts, told (the"
            " formula); None for a board, which is measured",
        ),
        ("graph", "SHA-256 of the network's document; None for a built-in network"),
        ("batch", "inputs that a run computes at once; None in files from before it was told: one"),
        ("left_out", "places where the network could be cut and was not; None for a built-in network"),
        ("encode", "encodings of what crosses a link that are measured, such as input:jpeg90; None: none"),
        ("layer_bytes", "memory that each layer takes where it runs: its parameters and its input"),
        ("threads_used", "CPU threads that the tensor library took"),
        ("description", "what the board says of itself at the start: model, memory, clocks; an object"),
        ("governor", "CPU frequency governor, or None where there is none"),
        ("versions", "Python, torch, torchvision and DIME"),
        ("temperatures_c", "thermal zone -> degrees Celsius, at the start"),
        ("command_line", "how the run was started"),
        ("started_utc", "ISO 8601"),
        (
            "sessions",
            "one entry each time the run was started or resumed: boot_id, start_ns, rows there, clocks, surroundings"
            " (quota, affinity, nice, load and stolen time at its start and its end), meter (its name, and which of its"
            " channels, rails, packages or GPUs it takes), changes (of the frequency, from the farthest other one: s"
            " until it reads back, and until work is as fast as it stays), image (of the container, NAME@DIGEST)",
        ),
        ("state", "running or complete"),
    ]
)


# Option of a profile -> the least and the greatest value that have a use; None, where it is allowed, leaves it open.
LARGEST_COUNT = 10**6
LARGEST_SEED = 2**53 - 1  # What every reader of JSON reads back.
BOUNDS = OrderedDict(
    [
        ("iterations", (1, LARGEST_COUNT)),
        ("runs", (1, LARGEST_COUNT)),
        ("warmups", (0, LARGEST_COUNT)),
        ("threads", (0, 4096)),
        ("min_window_s", (0, 3600)),
        ("seed", (-LARGEST_SEED, LARGEST_SEED)),
        ("max_layers", (1, 10000)),
        ("most_iterations", (1, LARGEST_COUNT)),
        ("rest_s", (0, 3600)),
    ]
)
THREADS_A_CORE = 4


def check_options(options: Options, cores: Optional[int] = None) -> None:
    """Makes sure that a profile's options have a use.

    Args:
        options: Mapping with any of those in BOUNDS; max_layers and most_iterations may be None.
        cores: The device's CPU cores, where they are known: they bound its threads.

    Raises:
        InputError: One has none.
    """
    bounds = OrderedDict((name, (least, most, "")) for name, (least, most) in BOUNDS.items())
    if cores:
        least, most = BOUNDS["threads"]
        bounds["threads"] = least, min(most, THREADS_A_CORE * cores), ", {} for each core here".format(THREADS_A_CORE)
    for name, (least, most, why) in bounds.items():
        value = options.get(name)
        if value is None:
            continue
        if not least <= value:
            raise InputError("{} is {}; it must be at least {}".format(name, value, least))
        if not value <= most:
            raise InputError("{} is {}; it must be at most {}{}".format(name, _brief(value), most, why))
    if (options.get("most_iterations") or LARGEST_COUNT) < options.get("iterations", 1):
        raise InputError(
            "most_iterations is {most_iterations}; it must be at least iterations, {iterations}".format(**options)
        )


def parse_name(text: str) -> str:
    """Reads a device's name, which may stand in a path, a table and a power log.

    Raises:
        InputError: The text is no such name.
    """
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", text):
        raise InputError(
            "{} is no plain name: up to 100 letters, digits, '-', '_' and '.', a letter or digit first".format(
                ascii(_brief(text))
            )
        )
    return text


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def frequencies_by_device(text: str) -> Dict[str, str]:
    """Parts ``[DEVICE=]HZ+HZ``, joined by commas, by the device that each names, or by ``""``."""
    found = {}  # type: Dict[str, List[str]]
    for part in text.split(","):
        device, _, values = part.strip().rpartition("=")
        found.setdefault(device.strip(), []).append(values)
    return {device: "+".join(values) for device, values in found.items()}


def parse_frequencies(text: str) -> Union[str, List[int]]:
    """Reads one device's frequencies: ``all``, or whole numbers of hertz, or with a unit such as 460.8MHz, joined by +.

    A share of a core, such as ``20%``, is the frequency that it stands as; see `dime.contract.emulation`.

    Raises:
        InputError: The text is neither.
    """
    if text == "all":
        return text
    try:
        return [emulation.hertz(part) if part.endswith("%") else whole(part, "Hz") for part in re.split("[+,]", text)]
    except InputError:
        raise InputError(
            "'{}' is neither all nor whole numbers of hertz (of a stand-in also shares, 20%) joined by +".format(text)
        )


def parse_share(text: str) -> float:
    """Reads a share such as ``3%`` or ``0.03``.

    Raises:
        InputError: The text is none.
    """
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InputError("'{}' is no share such as 3% or 0.03".format(text))
    return share


COUNTS = ("threads", "threads_used", "max_layers", "iterations", "runs", "warmups")


def _is_whole(value: object, least: int = -LARGEST_SEED) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 2**62


def _is_change(one: object) -> bool:
    if not isinstance(one, dict) or not all(_is_whole(one.get(name), 0) for name in ("frequency_hz", "from_hz")):
        return False
    times = [one.get(name) for name in ("read_back_s", "steady_s")]
    return all(isinstance(s, (int, float)) and not isinstance(s, bool) and 0 <= s <= 1e6 for s in times)


def changes_s(sessions: "Optional[List[Session]]") -> Dict[int, List[float]]:
    """How long each change to a frequency took, until it read back and work was as fast as it stays, s.

    Args:
        sessions: Those of run.json.
    """
    found: Dict[int, List[float]] = {}
    for session in sessions or []:
        for one in session.get("changes", []):
            found.setdefault(one["frequency_hz"], []).append(max(one["read_back_s"], one["steady_s"]))
    return found


def frequency_change_s(sessions: "Optional[List[Session]]") -> Dict[int, float]:
    """How long a change to each frequency took on average, s; see `changes_s`."""
    return {frequency_hz: sum(times) / len(times) for frequency_hz, times in changes_s(sessions).items()}


def _damages(fields: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with the values of a run.json, of which each may be missing."""
    given = {name: value for name, value in fields.items() if value is not None}
    for name, kind, what in (
        ("network", str, "device or network is not a name"),
        ("device", str, "device or network is not a name"),
        ("power_model", dict, "power_model is not an object"),
    ):
        if not isinstance(given.get(name, kind()), kind):
            yield what
    if given.get("origin", "measured") not in ORIGINS:
        yield "origin is none of {}".format(", ".join(ORIGINS))
    for name in COUNTS:
        if not _is_whole(given.get(name, 0), 0):
            yield "{} is not a number".format(name) + (" of layers" if name == "max_layers" else "")
    if not _is_whole(given.get("seed", 0)):
        yield "seed is not a whole number"
    window_s = given.get("min_window_s", 0)
    if isinstance(window_s, bool) or not isinstance(window_s, (int, float)) or not 0 <= window_s <= 1e6:
        yield "min_window_s is not a time"
    frequencies = given.get("frequencies_hz", [])
    if not isinstance(frequencies, list) or not all(map(_is_whole, frequencies)):
        yield "frequencies_hz is not a list of whole numbers"
    sessions = given.get("sessions", [])
    if not isinstance(sessions, list) or not all(isinstance(one, dict) for one in sessions):
        yield "sessions is not a list of objects"
        return
    for one in sessions:
        for damage in _session_damages(one):
            yield damage


def _session_damages(one: Mapping[str, object]) -> Iterator[str]:
    if not all(_is_whole(one.get(name, 0), 0) for name in ("rows", "start_ns")):
        yield "a session's rows or start_ns is not a whole number"
    for name in ("boot_id", "image"):
        if not isinstance(one.get(name), (str, type(None))):
            yield "a session's {} is not a name".format(name)
    changes = one.get("changes", [])
    if not isinstance(changes, list) or not all(map(_is_change, changes)):
        yield "a session's changes of frequency are not times"


class RunSpec(object):
    """What was asked of a run and what was observed of it; attributes are SPEC_FIELDS and OBSERVED_FIELDS.

    Args:
        **fields: Values by name. Every field of SPEC_FIELDS is required; unknown names are refused.
    """

    network: str
    layers: List[str]
    device: str
    board: str
    processor: str
    threads: int
    frequencies_hz: List[int]
    max_layers: int
    iterations: int
    runs: int
    warmups: int
    min_window_s: float
    seed: int
    weights: str
    samples: str
    origin: Optional[str]
    power_model: Optional[Mapping[str, object]]
    graph: Optional[str]
    batch: Optional[int]
    left_out: Optional[List[str]]
    encode: Optional[List[str]]
    layer_bytes: Optional[List[int]]
    threads_used: Optional[int]
    description: Optional[Mapping[str, object]]
    governor: Optional[str]
    versions: Optional[Dict[str, Optional[str]]]
    temperatures_c: Optional[Dict[str, float]]
    command_line: Optional[str]
    started_utc: Optional[str]
    sessions: "Optional[List[Session]]"
    state: Optional[str]

    def __init__(self, **fields: object) -> None:
        missing = [name for name in SPEC_FIELDS if name not in fields]
        unknown = [name for name in fields if name not in SPEC_FIELDS and name not in OBSERVED_FIELDS]
        if missing or unknown:
            raise TableError(
                "a run's description lacks {} and has unknown {}".format(
                    ", ".join(missing) or "nothing", _brief(", ".join(sorted(unknown))) or "nothing"
                )
            )
        for name in list(SPEC_FIELDS) + list(OBSERVED_FIELDS):
            setattr(self, name, fields.get(name))

    def differences(self, other: "RunSpec") -> List[str]:
        """Lists the asked-for fields in which another run differs: those that forbid mixing rows of the two."""
        return [name for name in SPEC_FIELDS if getattr(self, name) != getattr(other, name)]

    def write(self, folder: files.Name) -> None:
        """Writes run.json in one step, so that a reader never sees half of it."""
        path = os.path.join(folder, RUN)
        fields = OrderedDict((name, getattr(self, name)) for name in list(SPEC_FIELDS) + list(OBSERVED_FIELDS))
        tables = dict((name, one) for name, one in TABLES.items() if self.encode or name != ENCODINGS)
        files.replace(path, files.as_json(schemas.stamped(schemas.RUN, fields, **tables)))

    @classmethod
    def read(cls, folder: files.Name) -> "RunSpec":
        """Reads run.json.

        Args:
            folder: The run's folder.

        Returns:
            RunSpec: The description.

        Raises:
            TableError: There is none, or it is damaged.
        """
        path = os.path.join(folder, RUN)
        try:
            with open(path) as stream:
                fields = json.load(stream)
        except EnvironmentError as error:
            raise TableError("{}: {}".format(path, error.strerror))
        except (ValueError, RecursionError) as error:
            raise TableError("{} is damaged: {}".format(path, error))
        if not isinstance(fields, dict):
            raise TableError("{} is damaged: not an object".format(path))
        schemas.version(schemas.RUN, fields, path)
        schemas.check_tables(TABLES, fields, path)
        fields = schemas.without(fields)
        for damage in _damages(fields):
            raise TableError("{} is damaged: {}".format(path, damage))
        try:
            return cls(**fields)
        except TableError as error:
            raise TableError("{}: {}".format(path, error))
