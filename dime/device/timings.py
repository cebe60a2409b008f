"""samples + bundles -> timings.csv, with run.json beside it: how long every bundle takes at every frequency.

One pass measures every bundle once, in an order of its own, so that slow changes of the machine spread over all.
A bundle's rows reach the disk together; a run that was cut off goes on behind the last bundle that did.
"""

import os
import random
import sys
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import (
    TYPE_CHECKING,
    Callable,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
    cast,
)

import torch

from dime import __version__
from dime.contract import emulation, encodings, files, surroundings, tables
from dime.contract.bundles import Bundle, enumerate_bundles, spell
from dime.contract.errors import InputError, TableError
from dime.contract.run import IMAGE_VARIABLE, LEDGER, RUN, TIMINGS, RunSpec, check_options
from dime.contract.timebase import boot_id, monotonic_ns
from dime.device import boards, estimate, overheads, processor, settling, stop, storage
from dime.device import encodings as coding
from dime.device import surroundings as around

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.run import Options, Session
    from dime.contract.tables import Timing
    from dime.device.boards import Board
    from dime.device.graphs.network import GraphNetwork
    from dime.device.networks import Network as SlicedNetwork
    from dime.device.power_log import AfterPass
    from dime.device.samples import Samples

    Network = Union[SlicedNetwork, GraphNetwork]
    Inputs = List[Tuple[str, processor.Tensors]]

# Length of the uncounted work before and after a bundle's windows, as a part of a window.
LEAD = 0.1
# Before one more run of a bundle: a device that has part of a plan waits so long for the others, or longer.
WAIT_S = 0.05
MOST_WAITS = 5  # bundles of a pass that are run behind a wait, the first ones of its order

Summary = NamedTuple("Summary", [("rows", int), ("measured_rows", int), ("inside_s", float)])
Summary.__doc__ = "What a profile did: rows in the table, those measured now, seconds spent inside runs and warm-ups."


@contextmanager
def quiet(frequency_hz: int) -> "Iterator[AfterPass]":
    """What surrounds a frequency where no power is logged: nothing, and no pass beyond those asked for."""
    yield lambda rows, bundles: []


def profile(
    network: "Network",
    samples: "Samples",
    folder: str,
    options: "Options",
    board: "Tuple[str, Board]",
    device: str,
    emit: "Optional[Emit]" = None,
    around_frequency: "Callable[[int], ContextManager[AfterPass]]" = quiet,
    root: str = "/",
    *,
    is_settled: Callable[[int], bool] = lambda frequency_hz: True,
    meter: Optional[Dict[str, str]] = None,
    rest_s: float = 0.0,
) -> Summary:
    """Measures all bundles of a network.

    Args:
        network: A `dime.device.networks.Network`.
        samples: A `dime.device.samples.Samples` of it.
        folder: The run's folder; a run that was cut off there is continued.
        options: Mapping with frequencies_hz (None for the board's own choice), max_layers, iterations, runs, warmups,
            threads, seed, min_window_s and processor.
        board: The board's name and module, as from `dime.device.boards.choose`.
        device: The device's name.
        emit: Called with a message's kind and fields.
        around_frequency: Called with each frequency in hertz; its context manager surrounds all work at that frequency.
            It gives a function that is told of each pass when it is over: the rows it has made, and all its bundles,
            also those whose rows an earlier session has made. After the last pass the function names the bundles to
            measure once more; so there are further passes until it names none.
        root: Where sysfs is found.
        is_settled: Whether a frequency at which all passes asked for are there needs no further ones.
        meter: Name and channels of the meter that logs meanwhile, for run.json; None for none.
        rest_s: What ``around_frequency`` itself takes.

    Returns:
        Summary: What was done.

    Raises:
        InputError: An option has no use, or a frequency is not the board's.
        TableError: Samples are damaged, or the folder holds another run, or a complete one.
        DeviceError: A clock cannot be fixed, or the disk would not take the rows.
    """
    emit = emit or (lambda kind, **fields: None)
    check_options(options, os.cpu_count())
    choices = encodings.parse(options["encode"]) if options.get("encode") else ()
    asked = options["processor"]
    if asked == "auto":
        asked = getattr(board[1], "PROCESSOR", asked)
    chosen = processor.choose(asked, emit, processor.advice(board[1]))
    frequencies = _frequencies(options["frequencies_hz"], board, chosen, root, emit)
    with storage.locked(folder), stop.deferred(), threads(options["threads"]):
        spec = _spec(network, samples, options, board, device, chosen, frequencies, root)
        if boards.settle(folder):
            emit("note", text="clocks that a killed run had fixed were put back")
        with storage.disk_errors(folder):
            inputs = _inputs(network, samples, chosen)
            rows = _reopen(folder, spec, emit)
            _session(spec)["meter"] = meter
            coded = coding.Encodings(folder, choices, network, inputs, chosen, coding.levels_of(samples.manifest), emit)
            beside = overheads.Overheads(folder, network, samples, inputs, board, chosen, emit)
            run = _Run(network, inputs, chosen, spec, emit, rows, board[1])
            if spec.origin == "emulated":
                emit("note", text=emulation.told(frequencies))
            emit("hello", version=__version__, device=device, network=network.name, total=run.total)
            inside_s, known = 0.0, _look_around(spec, "start", root, emit)
            with tables.Writer(os.path.join(folder, TIMINGS), tables.TIMINGS, append=True) as writer:
                for frequency_hz in frequencies:
                    measured = all(one.is_complete(frequency_hz) for one in (run, coded, beside))
                    if measured and is_settled(frequency_hz):
                        continue
                    with board[1].fixed(frequency_hz, root, os.path.join(folder, LEDGER)) as verify:
                        _note_changes(spec, frequency_hz, frequencies, board, chosen, root, emit)
                        with around_frequency(frequency_hz) as after_pass:
                            _note_clocks(spec, "start", frequency_hz, verify(), board, root, emit)
                            spec.write(folder)
                            run.announce(frequency_hz, lambda whole_s: rest_s + beside.expected_s(whole_s))
                            inside_s += run.measure(frequency_hz, writer, verify, after_pass)
                            coded.measure(frequency_hz, board[1])
                            beside.measure(frequency_hz)
                            _note_clocks(spec, "end", frequency_hz, run.read_hz, board, root, emit)
                            known = _look_around(spec, "end", root, emit, known)
            spec.state = "complete"
            spec.write(folder)
    return Summary(run.rows, run.rows - len(rows), inside_s)


def shuffled(bundles: Iterable[Bundle], seed: int, iteration: int) -> List[Bundle]:
    """The order in which a pass measures the bundles: the same for the same seed and pass in every Python."""
    order = list(bundles)
    random.Random("{} {}".format(seed, iteration)).shuffle(order)
    return order


class _Run(object):
    """All measurements of one run, and how far they have got."""

    def __init__(
        self,
        network: "Network",
        inputs: "List[Inputs]",
        chosen: "processor.Processor",
        spec: RunSpec,
        emit: "Emit",
        rows: "Sequence[Timing]",
        board: "Board",
    ) -> None:
        self._board = board
        self._network = network
        self._inputs = inputs
        self._chosen = chosen
        self._spec = spec
        self._emit = emit
        self._bundles = enumerate_bundles(len(network.layers), spec.max_layers)
        self._finished = set((row["frequency_hz"], row["iteration"], row["bundle"]) for row in rows)
        network.place(chosen)
        self.rows = len(rows)
        self.read_hz: List[int] = []
        self._announced = False
        self.total = len(self._bundles) * spec.iterations * len(spec.frequencies_hz)

    def is_complete(self, frequency_hz: int) -> bool:
        finished = sum(1 for key in self._finished if key[0] == frequency_hz and key[1] < self._spec.iterations)
        return finished == len(self._bundles) * self._spec.iterations

    def announce(self, frequency_hz: int, beside_s: Callable[[float], float]) -> None:
        """Says once how long what is missing will take, by a trial at the first frequency.

        ``beside_s`` tells what a frequency takes beside its passes, by the seconds of the whole network.
        """
        if self._announced:
            return
        self._announced = True
        spec, numbers = self._spec, range(len(self._network.layers))
        with torch.inference_mode():
            layers_s = estimate.trial(partial(self._once_s, number, frequency_hz) for number in numbers)
        shape = estimate.Shape(
            spec.iterations, spec.runs, spec.warmups, spec.min_window_s, LEAD, MOST_WAITS, WAIT_S, beside_s
        )
        ahead = [hz for hz in spec.frequencies_hz if not self.is_complete(hz)]
        text = estimate.told(layers_s, spec.max_layers, shape, ahead, frequency_hz)
        if text:
            self._emit("note", text=text)

    def _once_s(self, number: int, frequency_hz: int) -> float:
        stop.check()
        timed = boards.slowed(self._board, self._network.module(Bundle(number, number)), frequency_hz)
        return self._chosen.burst(timed, self._inputs[number][0][1]).duration_s

    def measure(
        self, frequency_hz: int, writer: tables.Writer, verify: Callable[[], List[int]], after_pass: "AfterPass"
    ) -> float:
        """Measures what is missing at one frequency; returns the seconds spent inside runs.

        No row is written whose clock did not hold: ``verify`` raises DeviceError then.
        """
        inside_s = 0.0
        wanted, iteration = set(spell(bundle, self._network.layers) for bundle in self._bundles), 0
        while wanted:
            pass_rows = []
            for place, bundle in enumerate(shuffled(self._bundles, self._spec.seed, iteration)):
                name = spell(bundle, self._network.layers)
                if name not in wanted or (frequency_hz, iteration, name) in self._finished:
                    continue
                rows, seconds = self._measure_bundle(bundle, name, frequency_hz, iteration, place < MOST_WAITS)
                self.read_hz = verify()
                writer.write(rows)
                inside_s += seconds
                self.rows += len(rows)
                pass_rows += rows
                self._finished.add((frequency_hz, iteration, name))
                self._emit("progress", done=len(self._finished), what=name)
            more = after_pass(pass_rows, wanted)
            iteration += 1
            if iteration >= self._spec.iterations:
                wanted = set(more)
        return inside_s

    def _measure_bundle(
        self, bundle: Bundle, name: str, frequency_hz: int, iteration: int, waits: bool
    ) -> "Tuple[List[Timing], float]":
        spec, layers = self._spec, self._network.layers
        module, inputs = self._network.module(bundle), self._inputs[bundle.first]
        timed = boards.slowed(self._board, module, frequency_hz)
        rows: List[Timing] = []
        inside_s = 0.0
        with torch.inference_mode():
            # A meter smears what happens at a window's edges: the same work goes on for a while before and after.
            for run in range(-spec.warmups, spec.runs + (spec.min_window_s > 0)):
                stop.check()
                image, tensor = inputs[(iteration * spec.runs + run) % len(inputs)]
                counted = 0 <= run < spec.runs
                window_s = spec.min_window_s * (1 if counted else LEAD)
                burst = self._chosen.burst(timed if counted or window_s else module, tensor, window_s)
                inside_s += (burst.end_ns - burst.start_ns) * 1e-9
                if counted:
                    rows.append(
                        {
                            "bundle": name,
                            "first_layer": layers[bundle.first],
                            "last_layer": layers[bundle.last],
                            "frequency_hz": frequency_hz,
                            "iteration": iteration,
                            "run": run,
                            "image": image,
                            "repeats": burst.repeats,
                            "duration_s": burst.duration_s,
                            "start_ns": burst.start_ns,
                            "end_ns": burst.end_ns,
                            "input_bytes": processor.size_bytes(tensor),
                            "output_bytes": processor.size_bytes(burst.output),
                            "input_shape": _shape(tensor),
                            "output_shape": _shape(burst.output),
                            "single_s": burst.single_s,
                            "copy_in_s": None,
                            "copy_out_s": None,
                            "waited_s": None,
                        }
                    )
            # Copies are timed behind the windows, so that nothing else goes on at a window's edges.
            self._chosen.copies_s(tensor, burst.output)
            for row in rows:
                row["copy_in_s"], row["copy_out_s"] = self._chosen.copies_s(tensor, burst.output)
            if waits:
                stop.check()
                time.sleep(WAIT_S)
                rows[-1]["waited_s"] = self._chosen.burst(timed, tensor).duration_s
        return rows, inside_s


def _frequencies(
    asked: Union[None, str, List[int]],
    board: "Tuple[str, Board]",
    chosen: "processor.Processor",
    root: str,
    emit: "Emit",
) -> List[int]:
    """Settles which frequencies to go through; [-1] leaves the clock alone."""
    name, module = board
    if asked == [-1]:
        return [-1]
    known = module.frequencies_hz(root)
    if asked is None:
        if not module.SWEEPS:
            return [-1]
        if not known:
            emit("warning", text="{}: no clock can be fixed here, so it is left alone".format(name))
            return [-1]
    elif isinstance(asked, str):  # all
        if not known:
            raise InputError("{}: no clock can be fixed here; leave --frequencies out".format(name))
    else:
        asked = [boards.nearest_hz(frequency, known) or frequency for frequency in asked]
        accepts = getattr(module, "accepts", known.__contains__)
        wrong = [frequency for frequency in asked if frequency not in known and not accepts(frequency)]
        if wrong or len(set(asked)) != len(asked):
            raise InputError(
                "{}: cannot fix {} Hz; known: {}".format(
                    name, ", ".join(map(str, wrong)) or "a frequency twice", ", ".join(map(str, known)) or "none here"
                )
            )
        known = asked
    if name == "nano" and chosen.name == "cpu":
        emit("warning", text="the GPU's clock is fixed, but the network runs on the CPU")
    return known


def _spec(
    network: "Network",
    samples: "Samples",
    options: "Options",
    board: "Tuple[str, Board]",
    device: str,
    chosen: "processor.Processor",
    frequencies: List[int],
    root: str,
) -> RunSpec:
    facts = board[1].describe(root)
    longest = len(network.layers)
    return RunSpec(
        network=network.name,
        layers=network.layers,
        device=device,
        board=board[0],
        processor=chosen.name,
        threads=options["threads"],
        threads_used=torch.get_num_threads(),
        frequencies_hz=frequencies,
        max_layers=longest if options["max_layers"] is None else min(options["max_layers"], longest),
        iterations=options["iterations"],
        runs=options["runs"],
        warmups=options["warmups"],
        min_window_s=float(options["min_window_s"]),
        seed=options["seed"],
        weights=network.weights,
        samples=samples.label,
        graph=getattr(network, "digest", None),
        batch=network.batch,
        left_out=(samples.manifest or {}).get("left_out"),
        origin="measured" if frequencies == [-1] else getattr(board[1], "ORIGIN", "measured"),
        power_model=boards.power_model(board[1], frequencies),
        encode=[":".join(choice) for choice in encodings.parse(options["encode"])] if options.get("encode") else None,
        layer_bytes=network.layer_bytes(),
        description=facts,
        governor=facts["governor"],
        versions=processor.versions(),
        temperatures_c=facts["temperatures_c"],
        command_line=" ".join(sys.argv),
        started_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        sessions=[],
        state="running",
    )


def _reopen(folder: str, spec: RunSpec, emit: "Emit") -> "List[Timing]":
    """Opens a run's folder, or one in which the same run was cut off.

    Returns:
        list: The rows of the bundles that were finished before; everything else is gone from the table.
    """
    path = os.path.join(folder, TIMINGS)
    if not os.path.exists(os.path.join(folder, RUN)):
        if os.path.exists(path):
            raise TableError("{} holds {} without {}; nothing was overwritten".format(folder, TIMINGS, RUN))
        rows: List[Timing] = []
    else:
        before = RunSpec.read(folder)
        different = before.differences(spec) + (["versions"] if before.versions != spec.versions else [])
        if before.threads_used not in (None, spec.threads_used):
            different.append("threads_used")
        if different:
            differences = ["{} ({} there, {} now)".format(n, getattr(before, n), getattr(spec, n)) for n in different]
            raise TableError(
                "{} holds another run; nothing was overwritten, take another folder; they differ in {}".format(
                    folder, ", ".join(differences)
                )
            )
        if before.state == "complete":
            raise TableError("{} holds this run already, complete; nothing was overwritten".format(folder))
        rows = _finished_rows(path, spec.runs) if os.path.exists(path) else []
        for name in ("started_utc", "description", "temperatures_c", "sessions", "command_line"):
            setattr(spec, name, getattr(before, name))
        emit("note", text="resumed: {} rows of finished bundles were there already".format(len(rows)))
    begun: Session = {
        "rows": len(rows),
        "start_ns": monotonic_ns(),
        "started_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "boot_id": boot_id(),
        "clocks": [],
    }
    if os.environ.get(IMAGE_VARIABLE):
        begun["image"] = os.environ[IMAGE_VARIABLE]
    spec.sessions = (spec.sessions or []) + [begun]
    spec.write(folder)
    return rows


def _finished_rows(path: str, runs: int) -> "List[Timing]":
    """Reads a table that was cut off and drops the rows of an unfinished bundle from it."""

    def key(row: "Timing") -> Tuple[int, int, str]:
        return row["frequency_hz"], row["iteration"], row["bundle"]

    rows = cast("List[Timing]", tables.recover(path, tables.TIMINGS))
    counts = Counter(map(key, rows))
    kept = [row for row in rows if counts[key(row)] == runs]
    if len(kept) < len(rows) or (os.path.exists(path) and not tables.is_current(path, tables.TIMINGS)):
        with files.replacing(path) as part, tables.Writer(part, tables.TIMINGS) as writer:
            writer.write(kept)
    return kept


def _inputs(network: "Network", samples: "Samples", chosen: "processor.Processor") -> "List[Inputs]":
    """Loads every layer's inputs once: for each layer a list of (image, tensor)."""

    def place(tensors: Tuple[torch.Tensor, ...]) -> processor.Tensors:
        placed = tuple(chosen.place(tensor) for tensor in tensors)
        return placed[0] if len(placed) == 1 else placed

    return [
        [(name, place(tensors)) for name, tensors in samples.maps(layer, network.boundary(number)).items()]
        for number, layer in enumerate(network.layers)
    ]


def _shape(tensors: processor.Tensors) -> str:
    return "+".join("x".join(map(str, tensor.shape)) or "1" for tensor in processor.as_tuple(tensors))


def _session(spec: RunSpec) -> "Session":
    """The session that goes on."""
    assert spec.sessions, "a run that goes on has one"
    return spec.sessions[-1]


def _note_clocks(
    spec: RunSpec,
    when: str,
    frequency_hz: int,
    read_hz: List[int],
    board: "Tuple[str, Board]",
    root: str,
    emit: "Emit",
) -> None:
    """Records the board as it is, with what the fixed clocks read back: a little off what was set, perhaps."""
    facts = board[1].describe(root)
    if facts["throttled"]:
        emit("warning", text="the board is throttling: {}".format(", ".join(facts["throttled"])))
    now = {key: fact for key, fact in facts.items() if key not in ("model", "memory_bytes")}
    _session(spec)["clocks"].append(
        dict(now, when=when, frequency_hz=frequency_hz, read_hz=read_hz, time_ns=monotonic_ns())
    )


def _note_changes(
    spec: RunSpec,
    frequency_hz: int,
    frequencies: List[int],
    board: "Tuple[str, Board]",
    chosen: "processor.Processor",
    root: str,
    emit: "Emit",
) -> None:
    """Records how long it takes to change to a frequency: from those profiled, or if it is the only one, from all."""
    known = frequencies if len(frequencies) > 1 else board[1].frequencies_hz(root)
    found = settling.measure(board[1], chosen, frequency_hz, known, root, emit)
    _session(spec).setdefault("changes", []).extend(found)


def _look_around(spec: RunSpec, when: str, root: str, emit: "Emit", known: Iterable[str] = ()) -> Set[str]:
    """Notes what the session shares the machine with, and warns of what was not known yet; gives all kinds known."""
    noted = _session(spec).setdefault("surroundings", {})
    if when == "start":
        noted["start"] = around.observe(root, around.MOMENT_S)
    else:
        noted["end"] = around.observe(root)
    said = surroundings.judge(noted["start"], noted.get("end", {}), spec.threads_used)
    for kind in said:
        if kind not in known:
            emit("warning", text=said[kind])
    return set(known) | set(said)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the tensor library's CPU threads for a while; 0 leaves them alone."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
