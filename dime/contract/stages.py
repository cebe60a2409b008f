"""The order that a device gets for its part of a plan, and what a frame between two stages says; both are untrusted.

A plan is a list of segments: what one device computes in one go. The first and the last segment are the edge device's,
which holds input and result; they may be without bundles. Hop h is what crosses behind segment h.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence, Tuple, cast

from dime.contract import encodings
from dime.contract.bundles import Bundle, covers
from dime.contract.errors import InputError

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    class StepStamps(TypedDict):
        """What a device stamps of a step; see STEP_STAMPS."""

        start: int
        end: int
        compute: int
        change: int
        off: int

    class SegmentStamps(TypedDict):
        """What a device stamps of a segment; see SEGMENT_STAMPS."""

        in_first: int
        in_last: int
        in_bytes: int
        copy_in: int
        copy_out: int
        decode: int
        encode: int
        out_first: int
        steps: List[StepStamps]

    class Row(TypedDict):
        """One request, as the edge device tells it."""

        number: int
        picture: str
        start_ns: int
        end_ns: int
        fallback: str
        segments: List[SegmentStamps]
        distance: Optional[float]
        same_class: Optional[int]
        off: Optional[float]

    class Asked(TypedDict):
        """What all devices are told of a plan."""

        plan: str
        names: List[str]
        segments: List[List[object]]
        requests: int
        warmups: int
        check: bool
        exact: bool
        window: int
        result_bytes: int
        batch: int
        first_picture: int
        pictures: int
        silence_s: float
        encodings: List[List[object]]
        input_hz: int


EDGE = 0
BACK_TO_BACK = 4  # runs of each bundle before a plan is run, one after the other as in a profile
MOST_REQUESTS = 10**6
MOST_DEVICES = 64
MOST_WINDOW = 64
LARGEST_RESULT_BYTES = LARGEST_ENCODED_BYTES = 1 << 32

Step = NamedTuple("Step", [("bundle", Bundle), ("frequency_hz", int)])
Step.__doc__ = "A bundle at a clock; -1 leaves the clock alone."
Segment = NamedTuple("Segment", [("device", int), ("steps", Tuple[Step, ...])])
Segment.__doc__ = "What one device computes in one go."
Encoding = NamedTuple("Encoding", [("name", str), ("most_bytes", int)])
Encoding.__doc__ = "How what crosses at a boundary is encoded, and the bytes that all its tensors then have at most."

COUNTS = {
    "number": (0, 10**9),
    "me": (0, MOST_DEVICES),
    "requests": (1, MOST_REQUESTS),
    "warmups": (0, MOST_REQUESTS),
    "window": (1, MOST_WINDOW),
    "result_bytes": (1, LARGEST_RESULT_BYTES),
    "batch": (1, MOST_REQUESTS),
    "first_number": (0, 2**53),
    "first_picture": (0, MOST_REQUESTS),
    "pictures": (0, MOST_REQUESTS),
    "input_hz": (-1, 2**53),
}


class Order(object):
    """What a device is told of a plan before it is run.

    Attributes:
        plan: The plan's name.
        number: The order's own, by which its connections are called.
        me: The position of the device that is told.
        names: Names of the devices, the edge device's first.
        segments: What is computed where.
        requests: How many requests count.
        warmups: How many come before them.
        check: Whether the requests are compared with what was profiled, and their whole result sent home.
        exact: Whether all devices compute the same bits.
        window: How many requests may be under way at once.
        result_bytes: Bytes of the result that are sent home.
        batch: Inputs that are computed at once.
        first_number: Number of the first request; no number is used twice in a run.
        first_picture: Position of the first request's picture.
        pictures: So many of the pictures are fed, the first ones; 0 feeds all.
        input_hz: The clock at which the edge device encodes the input; -1 leaves it alone.
        encodings: Boundary -> how what crosses there is encoded.
        silence_s: How long the edge device waits for an answer before it finishes by itself.
        peers: Device that is connected to -> its address and port.
    """

    def __init__(
        self,
        counts: Dict[str, int],
        plan: str,
        names: List[str],
        parts: List[Segment],
        check: bool,
        exact: bool,
        silence_s: float,
        peers: Dict[int, Tuple[str, int]],
        encoded: Dict[int, Encoding],
    ) -> None:
        self.plan, self.names, self.segments = plan, names, parts
        self.check, self.exact, self.silence_s, self.peers = check, exact, silence_s, peers
        self.number, self.me = counts["number"], counts["me"]
        self.requests, self.warmups, self.window = counts["requests"], counts["warmups"], counts["window"]
        self.result_bytes, self.batch = counts["result_bytes"], counts["batch"]
        self.first_number, self.first_picture = counts["first_number"], counts["first_picture"]
        self.pictures, self.input_hz, self.encodings = counts["pictures"], counts["input_hz"], encoded

    @property
    def is_edge(self) -> bool:
        """Whether the device that is told holds input and result."""
        return self.me == EDGE

    @property
    def steps(self) -> List[Step]:
        """What the device that is told computes."""
        return [step for segment in self.segments if segment.device == self.me for step in segment.steps]

    def hops(self, mine: bool) -> List[int]:
        """The hops that this device sends, or receives."""
        at = 0 if mine else 1
        return [hop for hop in range(len(self.segments) - 1) if self.segments[hop + at].device == self.me]

    def other(self, hop: int) -> int:
        """The device at the other end of one of this device's hops."""
        one, another = self.segments[hop].device, self.segments[hop + 1].device
        return another if one == self.me else one

    def boundary(self, hop: int) -> int:
        """The boundary that crosses at a hop: the first layer behind it, or the number of layers."""
        for segment in self.segments[hop + 1 :]:
            if segment.steps:
                return segment.steps[0].bundle.first
        return max(step.bundle.last for segment in self.segments for step in segment.steps) + 1

    def is_result(self, hop: int) -> bool:
        """Whether what crosses is the network's result."""
        return not any(segment.steps for segment in self.segments[hop + 1 :])

    def encoding(self, hop: int) -> Optional[Encoding]:
        """How what crosses at a hop is encoded; None where it is sent as it is."""
        return None if self.is_result(hop) else self.encodings.get(self.boundary(hop))

    def trips(self, hops: int) -> Tuple[Tuple[int, str], ...]:
        """The boundaries that are encoded on a request's first hops, so many, and how."""
        found = [(self.boundary(hop), self.encoding(hop)) for hop in range(hops)]
        return tuple((boundary, one.name) for boundary, one in found if one is not None)

    @property
    def sends_input_encoded(self) -> bool:
        """Whether the edge device encodes the input itself."""
        return not self.segments[0].steps and len(self.segments) > 1 and self.encoding(0) is not None


def segments(steps: Sequence[Tuple[int, int, int, int]]) -> List[Segment]:
    """Gathers a plan's steps, (first, last, device, frequency_hz), into segments."""
    found = [Segment(EDGE, ())]
    for first, last, device, hertz in steps:
        step = Step(Bundle(first, last), hertz)
        if found[-1].device == device:
            found[-1] = Segment(device, found[-1].steps + (step,))
        else:
            found.append(Segment(device, (step,)))
    if found[-1].device != EDGE:
        found.append(Segment(EDGE, ()))
    return found


def told(parts: Sequence[Segment]) -> List[List[object]]:
    """Segments as JSON takes them."""
    return [
        [part.device, [[step.bundle.first, step.bundle.last, step.frequency_hz] for step in part.steps]]
        for part in parts
    ]


def digest(content: object) -> bytes:
    """SHA-256 of what JSON takes."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()


def digest_of(network: str, weights: str, graph: Optional[str], samples: str) -> bytes:
    """SHA-256 of what tells a network that was profiled from any other; run.json has all of it."""
    return digest([network, weights, graph, samples])


def order(said: object, layers: int) -> Order:
    """Reads an order.

    Args:
        said: What came as JSON.
        layers: Number of the network's layers.

    Raises:
        InputError: It is none, or its plan does not hold each layer exactly once.
    """
    if not isinstance(said, dict):
        raise InputError("an order is no object")
    counts: Dict[str, int] = {}
    for name, (least, most) in COUNTS.items():
        value = said.get(name)
        if not _is_whole(value, least, most):
            raise InputError("an order's {} is no whole number from {} to {}".format(name, least, most))
        counts[name] = cast(int, value)
    silence_s = said.get("silence_s")
    if isinstance(silence_s, bool) or not isinstance(silence_s, (int, float)) or not 0 < silence_s < 1e6:
        raise InputError("an order's silence_s is no time")
    for name in ("check", "exact"):
        if not isinstance(said.get(name), bool):
            raise InputError("an order's {} is neither true nor false".format(name))
    names = said.get("names")
    if not isinstance(names, list) or not 0 < len(names) <= MOST_DEVICES or not all(_is_name(name) for name in names):
        raise InputError("an order's names are no names of devices")
    if counts["me"] >= len(names) or not _is_name(said.get("plan")):
        raise InputError("an order's plan or device has no name")
    return Order(
        counts,
        said["plan"],
        names,
        _segments(said.get("segments"), len(names), layers),
        said["check"],
        said["exact"],
        float(silence_s),
        _peers(said.get("peers"), len(names)),
        _encodings(said.get("encodings"), layers),
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000


def _segments(said: object, devices: int, layers: int) -> List[Segment]:
    if not isinstance(said, list) or not 0 < len(said) <= 2 * layers + 2:
        raise InputError("an order's segments are no list")
    found = []
    for one in said:
        if not (isinstance(one, list) and len(one) == 2 and _is_whole(one[0], 0, devices - 1)):
            raise InputError("a segment is no [device, steps]")
        found.append(Segment(one[0], tuple(_step(step, layers) for step in _list(one[1]))))
    if found[0].device != EDGE or found[-1].device != EDGE:
        raise InputError("a plan begins and ends on the edge device")
    if any(a.device == b.device for a, b in zip(found, found[1:])) or not all(part.steps for part in found[1:-1]):
        raise InputError("a plan's segments do not go from device to device")
    if not covers([step.bundle for part in found for step in part.steps], layers):
        raise InputError("the plan does not hold each layer exactly once, in order")
    return found


def _step(said: object, layers: int) -> Step:
    if not (isinstance(said, list) and len(said) == 3 and all(_is_whole(value, -1, 2**53) for value in said)):
        raise InputError("a step is no [first, last, frequency_hz]")
    if not 0 <= said[0] <= said[1] < layers or said[2] == 0:
        raise InputError("a step is no [first, last, frequency_hz]")
    return Step(Bundle(said[0], said[1]), said[2])


def _peers(said: object, devices: int) -> Dict[int, Tuple[str, int]]:
    if not isinstance(said, dict):
        raise InputError("an order's peers are no object")
    found = {}
    for name, address in said.items():
        whole = isinstance(address, list) and len(address) == 2 and _is_name(address[0])
        if not whole or not _is_whole(address[1], 1, 65535):
            raise InputError("a peer's address is no [host, port]")
        if not (isinstance(name, str) and name.isdigit() and int(name) < devices):
            raise InputError("a peer is none of the devices")
        found[int(name)] = (address[0], address[1])
    return found


def _encodings(said: object, layers: int) -> Dict[int, Encoding]:
    if not isinstance(said, list):
        raise InputError("an order's encodings are no list")
    found = {}
    for one in said:
        if not (isinstance(one, list) and len(one) == 3 and isinstance(one[1], str)):
            raise InputError("an encoding is no [boundary, name, most bytes]")
        boundary, name, most = one
        if not (_is_whole(boundary, 0, layers - 1) and _is_whole(most, 1, LARGEST_ENCODED_BYTES)):
            raise InputError("an encoding is no [boundary, name, most bytes]")
        encodings.parse("{}:{}".format(encodings.FEATURES if boundary else encodings.INPUT, name))
        found[boundary] = Encoding(name, most)
    return found


def _list(value: object) -> List[object]:
    if not isinstance(value, list):
        raise InputError("a segment's steps are no list")
    return value


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


# What a device stamps, in ns of its own monotonic clock, of each segment, and in it of each step. ``copy_in``,
# ``copy_out``, ``decode``, ``encode``, ``compute`` and ``change`` are durations, ``in_bytes`` what its tensors came in
# (0 for what came from no other device); ``off`` is how far a step's result is from what was profiled,
# in 1e-12 of the largest value, or -1 where that was not looked at.
SEGMENT_STAMPS = ("in_first", "in_last", "in_bytes", "copy_in", "copy_out", "decode", "encode", "out_first")
STEP_STAMPS = ("start", "end", "compute", "change", "off")
OFF = 1e12


def stamp_count(parts: Sequence[Segment]) -> int:
    """How many numbers go along with a request that has come through these segments; the first is its picture's."""
    return 1 + sum(len(SEGMENT_STAMPS) + len(STEP_STAMPS) * len(part.steps) for part in parts)


def stamps(values: Sequence[int], parts: Sequence[Segment]) -> "List[SegmentStamps]":
    """Takes stamps apart.

    Args:
        values: The numbers, without the picture's.
        parts: The segments that the request has come through.

    Returns:
        list: For each segment its stamps by name, and in ``steps`` those of its steps.
    """
    found, at = [], 0
    for part in parts:
        one: Dict[str, object] = dict(zip(SEGMENT_STAMPS, values[at : at + len(SEGMENT_STAMPS)]))
        at += len(SEGMENT_STAMPS)
        steps = []
        for _ in part.steps:
            steps.append(dict(zip(STEP_STAMPS, values[at : at + len(STEP_STAMPS)])))
            at += len(STEP_STAMPS)
        one["steps"] = steps
        found.append(cast("SegmentStamps", one))
    return found
