"""Links between two devices: rates in both directions, round trip, and what sending costs the weaker device's radio.

Radio power follows JointDNN's form, alpha x rate + beta, drawn while bits are on the air. Latency of one transfer is
half the round trip plus bits / rate; waiting for the round trip costs time, not radio energy. A radio has states where
its link says so: it must be brought up before the first bit, and stays up for a while after the last one.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from dime.contract.errors import InputError, unknown
from dime.contract.frames import OVERHEAD_BYTES
from dime.contract.quantities import plain
from dime.host.common.stats import Floats
from dime.host.planning import traces
from dime.host.profiles import link_profile

RESULTS, FOLDER = "results", "links"  # a link that was measured is in RESULTS/links/NAME/NUMBER
ARITHMETICS = ("correct", "published")
FILES = ("links.toml", "links_today.toml")
LIKE = "like"
LARGEST = 1e300  # An integer of a file may be larger than any float.
LEAST_BIT_S = 1.0  # slower than any link; what takes longer than the universe is no number to plan with
_REQUIRED = ("upload_mbit_s", "download_mbit_s")
MOST_OF_STATE = 1e6  # s or W
_RADIO = ("alpha_up_mw", "alpha_down_mw", "beta_mw")
_STATES = ("promotion_s", "promotion_mw", "tail_s", "tail_mw")
_OPTIONAL = (*_RADIO, *_STATES, "round_trip_s")
_WORDS = ("source", "states_source", "duplex_source")
_SWITCHES = ("states_checked", "duplex")
_SHORT = {
    "up": "upload_mbit_s",
    "down": "download_mbit_s",
    "rtt": "round_trip_s",
    "alpha_up": "alpha_up_mw",
    "alpha_down": "alpha_down_mw",
    "beta": "beta_mw",
    "promotion": "promotion_s",
    "promotion_power": "promotion_mw",
    "tail": "tail_s",
    "tail_power": "tail_mw",
}
_UNIT = {
    **{"up": "Mbit/s", "down": "Mbit/s", "rtt": "s", "beta": "mW"},
    **{"promotion": "s", "promotion_power": "mW", "tail": "s", "tail_power": "mW"},
}
INLINE = (
    "up=MBIT/S,down=MBIT/S[,rtt=S][,alpha_up=MW,alpha_down=MW,beta=MW]"
    "[,promotion=S,promotion_power=MW,tail=S,tail_power=MW] or [,like=LINK]"
)
_OF_THE_LINE = ("up", "down", "rtt")
_OF_THE_RADIO = (
    *("upload_j_per_bit", "download_j_per_bit", "radio_w", "promotion_s", "promotion_w", "tail_s", "tail_w"),
    *("states_source", "states_checked", "duplex"),
)


@dataclass(frozen=True)
class Link:
    """A link between two devices, as the weaker one sees it.

    Attributes:
        name: What it is called.
        upload_bit_s: Rate away from the weaker device, bit/s.
        download_bit_s: Rate towards it, bit/s.
        round_trip_s: Round trip of an empty message, s; each transfer pays half of it.
        upload_j_per_bit: alpha while sending: 1 mW/(Mbit/s) is 1 nJ/bit. None where the radio's power is not known.
        download_j_per_bit: alpha while receiving.
        radio_w: beta, the radio's power at rate 0.
        source: Where the numbers come from.
        promotion_s: Time until the first bit after the radio was down; None where its states are not known.
        promotion_w: Its power in that time.
        tail_s: Time that it stays up after the last bit.
        tail_w: Its power in that time.
        states_source: Where the numbers of the states come from.
        states_checked: Whether they were compared with their source; what was not is used only where it is asked for.
        duplex: Whether it sends both ways at the same time.
        origin: ``modelled`` where the numbers were given, ``measured`` or ``emulated`` where they were found,
            ``replayed`` where they are a trace.
        passes: Of a link that was measured the round trip (s) and seconds a bit up and down of each pass.
        spread_s: Standard deviation of the round trip from one run to another.
        spread_share: The same of the time on the way, as a part of it.
        trace: Of a link that changes over time its rows, see ``traces``; its rates are those of the mean then.
    """

    name: str
    upload_bit_s: float
    download_bit_s: float
    round_trip_s: float = 0.0
    upload_j_per_bit: float | None = None
    download_j_per_bit: float | None = None
    radio_w: float | None = None
    source: str = "given by the user"
    promotion_s: float | None = None
    promotion_w: float | None = None
    tail_s: float | None = None
    tail_w: float | None = None
    states_source: str = ""
    states_checked: bool = True
    duplex: bool = True
    origin: str = "modelled"
    passes: tuple[tuple[float, float, float], ...] = ()
    spread_s: float = 0.0
    spread_share: float = 0.0
    trace: traces.Rows = ()

    def __post_init__(self) -> None:
        for rate in (self.upload_bit_s, self.download_bit_s):
            if not (math.isfinite(rate) and rate >= LEAST_BIT_S):
                least = f"{LEAST_BIT_S:g}"
                raise InputError(f"link '{self.name}': a rate of {rate} bit/s is not a finite number >= {least}")
        radio = self.upload_j_per_bit, self.download_j_per_bit, self.radio_w
        states = self.promotion_s, self.promotion_w, self.tail_s, self.tail_w
        for value in (self.round_trip_s, *radio, *states):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"link '{self.name}': {value} is not a finite number >= 0")
        if any(value is not None and value > MOST_OF_STATE for value in states):
            raise InputError(f"link '{self.name}': a radio's states are up to {MOST_OF_STATE:g} s and W")

    @property
    def header_bytes(self) -> int:
        """What a frame adds to each tensor; of a link that was measured its numbers hold it already."""
        return 0 if self.passes else OVERHEAD_BYTES

    def latency_s(self, size_bytes: int, upload: bool) -> float:
        """Time of one transfer: half the round trip plus bits over rate.

        Args:
            size_bytes: Size of the tensor.
            upload: Whether it leaves the weaker device.
        """
        return self.round_trip_s / 2 + self._airtime_s(size_bytes, upload)

    def passes_s(self, size_bytes: int, upload: bool, trips: int = 0) -> Floats:
        """Time of one transfer, after so many round trips, as each pass found it; empty for one not measured."""
        of = np.array(self.passes).reshape(-1, 3)
        found: Floats = of[:, 0] * (0.5 + trips) + 8 * size_bytes * of[:, 1 if upload else 2]
        return found

    def passes_j(self, size_bytes: int, upload: bool) -> Floats:
        """The radio's energy in one transfer by what each pass found the time on the air to be, as `energy_j`."""
        bits, of = 8 * size_bytes, np.array(self.passes).reshape(-1, 3)
        rated_j = bits * ((self.upload_j_per_bit if upload else self.download_j_per_bit) or 0.0)
        found: Floats = rated_j + (self.radio_w or 0.0) * bits * of[:, 1 if upload else 2]
        return found

    def deviation_s(self, size_bytes: int, upload: bool, trips: int = 0) -> float:
        """Standard deviation of the same from one run to another; 0 for a link that was not measured."""
        return math.hypot(
            self.spread_s * math.sqrt(0.5 + trips), self.spread_share * self._airtime_s(size_bytes, upload)
        )

    def energy_j(self, size_bytes: int, upload: bool, arithmetic: str = "correct") -> float:
        """Radio energy of one transfer, charged to the weaker device in both directions; 0 where it is not known.

        Args:
            size_bytes: Size of the tensor.
            upload: Whether it leaves the weaker device.
            arithmetic: ``correct``: (alpha x rate + beta) x time. ``published``: that of the published example, which
                took alpha / 8000 x byte/s + beta / 1000 for uW: alpha is 64 and beta 10^6 times too small.

        Raises:
            InputError: The arithmetic is unknown.
        """
        if arithmetic not in ARITHMETICS:
            raise unknown("arithmetic", arithmetic, ARITHMETICS)
        rated_j = size_bytes * 8 * ((self.upload_j_per_bit if upload else self.download_j_per_bit) or 0.0)
        idle_j = (self.radio_w or 0.0) * self._airtime_s(size_bytes, upload)
        return rated_j + idle_j if arithmetic == "correct" else rated_j / 64 + idle_j / 1e6

    @property
    def has_radio(self) -> bool:
        """Whether it is known what sending costs the weaker device's radio."""
        return not self.upload_j_per_bit == self.download_j_per_bit == self.radio_w == None  # noqa: E711

    @property
    def has_states(self) -> bool:
        """Whether it is known what bringing the radio up, and its tail, cost."""
        return self.promotion_s is not None or self.tail_s is not None

    def _airtime_s(self, size_bytes: int, upload: bool) -> float:
        return size_bytes * 8 / (self.upload_bit_s if upload else self.download_bit_s)


def _from_fields(name: str, fields: Mapping[str, object], where: str) -> Link:
    known = (*_REQUIRED, *_OPTIONAL, *_WORDS, *_SWITCHES)
    extra = sorted(set(fields) - set(known))
    if extra:
        raise InputError(f"{where}: link '{name}': {unknown('field', extra[0], known)}")
    missing = [field for field in _REQUIRED if field not in fields]
    if missing:
        raise InputError(f"{where}: link '{name}' lacks {', '.join(missing)}")
    number = {}
    for field in _REQUIRED + _OPTIONAL:
        value = fields.get(field, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST:
            raise InputError(f"{where}: {field} = {value!r} of link '{name}' is not a number")
        number[field] = float(value)
    for field in _SWITCHES:
        if not isinstance(fields.get(field, True), bool):
            raise InputError(f"{where}: {field} = {fields[field]!r} of link '{name}' is neither true nor false")
    radio = dict.fromkeys(("upload_j_per_bit", "download_j_per_bit", "radio_w"))
    if any(field in fields for field in _RADIO):  # of some numbers given the others are 0
        scaled = number["alpha_up_mw"] * 1e-9, number["alpha_down_mw"] * 1e-9, number["beta_mw"] * 1e-3
        radio = dict(zip(radio, scaled, strict=True))
    states = {}
    if any(field in fields for field in _STATES):
        states = {
            "promotion_s": number["promotion_s"],
            "promotion_w": number["promotion_mw"] * 1e-3,
            "tail_s": number["tail_s"],
            "tail_w": number["tail_mw"] * 1e-3,
        }
    return Link(
        name,
        upload_bit_s=number["upload_mbit_s"] * 1e6,
        download_bit_s=number["download_mbit_s"] * 1e6,
        round_trip_s=number["round_trip_s"],
        upload_j_per_bit=radio["upload_j_per_bit"],
        download_j_per_bit=radio["download_j_per_bit"],
        radio_w=radio["radio_w"],
        source=str(fields.get("source", "given by the user")),
        promotion_s=states.get("promotion_s"),
        promotion_w=states.get("promotion_w"),
        tail_s=states.get("tail_s"),
        tail_w=states.get("tail_w"),
        states_source=str(fields.get("states_source", "given by the user" if states else "")),
        states_checked=bool(fields.get("states_checked", True)),
        duplex=bool(fields.get("duplex", True)),
    )


def _read(path: str) -> dict[str, Link]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        with open(path, "rb") as stream:
            entries = tomllib.load(stream)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    stray = [name for name, fields in entries.items() if not isinstance(fields, dict)]
    if stray:
        raise InputError(f"{path}: '{stray[0]}' stands outside of a link's section")
    return {name: _from_fields(name, fields, path) for name, fields in entries.items()}


@lru_cache(maxsize=1)
def known_links() -> dict[str, Link]:
    """The links that come with DIME, by name."""
    folder = os.path.dirname(__file__)
    return {name: link for file in FILES for name, link in _read(os.path.join(folder, file)).items()}


def measured_link(folder: str | os.PathLike[str], name: str) -> Link:
    """Reads a link that was measured, from the folder of a measurement or the newest of those in it.

    Raises:
        TableError: There is none, or it is damaged.
    """
    place = Path(folder)
    if not (place / link_profile.DOCUMENT).exists():
        numbered = [path.parent for path in place.glob(f"[0-9]*/{link_profile.DOCUMENT}")]
        place = max(numbered, key=lambda path: (len(path.name), path.name), default=place)
    found = link_profile.read(place)
    return Link(
        name,
        found.upload_bit_s.value,
        found.download_bit_s.value,
        found.round_trip_s.value,
        source=f"{found.origin}, {found.path}",
        origin=found.origin,
        passes=found.passes,
        spread_s=found.spread_s,
        spread_share=found.spread_share,
    )


def traced_link(path: str) -> Link:
    """Reads a link that changes over time; its rates and its round trip are those of the mean transfer.

    Raises:
        TableError: It is missing or damaged.
    """
    rows = traces.read(path)
    trip_s, up, down = traces.mean(rows)
    return Link(
        path, 1 / up, 1 / down, trip_s, source=f"trace of {len(rows)} rows, {path}", origin="replayed", trace=rows
    )


def located(text: str, results: str) -> str:
    """The same links, those that were measured by their folders where the results are not in the usual one."""
    if with_radio := _with_radio(text):
        return f"{located(with_radio[0], results)},{LIKE}={with_radio[1]}"
    if results == RESULTS or "=" in text or ":" in text:
        return text
    names = (name.strip() for name in text.split(","))
    return ",".join(
        str(Path(results, FOLDER, name)) if name and Path(results, FOLDER, name).is_dir() else name for name in names
    )


def load_link(text: str, results: str | os.PathLike[str] = RESULTS) -> Link:
    """Finds a link.

    Args:
        text: A known name (``4G``), the name of one that was measured (``nano-pc``) or the folder of its measurement,
            ``FILE.csv``, a trace with the columns time, up, down and rtt (s, Mbit/s, Mbit/s, s), ``FILE.toml:NAME``
            for an entry of one's own file in the form of links.toml, or the numbers themselves:
            ``up=5.85,down=13.76,rtt=0.05,alpha_up=438.39,alpha_down=51.97,beta=1288.04``, or
            ``up=20,down=50,rtt=0.01,like=WiFi``, whose radio is that of a known link. A measurement or a trace, which
            says nothing of its radio, takes one in the same way: ``nano-pc,like=WiFi``.
        results: The folder that holds links/NAME.

    Returns:
        The link.

    Raises:
        InputError: The name, the file or a field is unknown, or a number is not one.
    """
    if text in known_links():
        return known_links()[text]
    if with_radio := _with_radio(text):
        return _like(text, load_link(with_radio[0], results), _known(text, with_radio[1]))
    if "=" in text:
        return _inline(text)
    if text.endswith(".csv"):
        return traced_link(text)
    for folder in (Path(results, FOLDER, text), Path(text)) if text else ():
        if os.path.isdir(folder):
            return measured_link(folder, folder.name if folder != Path(text) else text)
    path, _, name = text.rpartition(":")
    if not path and text.endswith(".toml"):
        path, name = text, ""
    if path:
        entries = _read(path)
        if not name and len(entries) == 1:
            name = next(iter(entries))
        if name not in entries:
            raise unknown(f"link of {path}", name, entries)
        return entries[name]
    measured = sorted(path.name for path in Path(results, FOLDER).glob("*") if path.is_dir())
    raise unknown("link", text, [*known_links(), *measured], f", or FILE.toml:NAME, or {INLINE}")


def _with_radio(text: str) -> tuple[str, str] | None:
    """The parts of ``nano-pc,like=WiFi``; None for a link that is given by its numbers, or has no such part."""
    link, comma, like = text.rpartition(",")
    short, equals, name = (part.strip() for part in like.partition("="))
    given = any(part.partition("=")[0].strip() in _SHORT for part in link.split(","))
    return (link.strip(), name) if comma and equals and short == LIKE and not given else None


def _known(text: str, name: str) -> Link:
    if name not in known_links():
        raise InputError(f"link '{text}': {unknown('link', name, known_links())}")
    return known_links()[name]


def _like(text: str, link: Link, like: Link) -> Link:
    """A link with the radio of another one, and its way of sending."""
    if link.has_radio:
        raise InputError(f"link '{text}': {link.name} has its own radio's numbers; leave out {LIKE}=")
    radio = {name: getattr(like, name) for name in _OF_THE_RADIO}
    return replace(
        link, name=text, source=f"{link.source}; the radio is modelled as that of {like.name}: {like.source}", **radio
    )


def _inline(text: str) -> Link:
    fields: dict[str, float] = {}
    like: Link | None = None
    for part in text.split(","):
        short, _, value = (piece.strip() for piece in part.partition("="))
        if short == LIKE:
            like = _known(text, value)
            continue
        if short not in _SHORT:
            raise InputError(f"link '{text}': {unknown('part', short, [*_SHORT, LIKE], f'; the form is {INLINE}')}")
        if _SHORT[short] in fields:
            raise InputError(f"link '{text}': {short} is given twice")
        try:
            fields[_SHORT[short]] = float(plain(value, _UNIT[short]) if short in _UNIT else value)
        except ValueError:
            raise InputError(f"link '{text}': {short} = '{value}' is not a number") from None
        except InputError as error:
            raise InputError(f"link '{text}': {short} = {error}") from None
    missing = [short for short, field in _SHORT.items() if field in _REQUIRED and field not in fields]
    if missing:
        raise InputError(f"link '{text}' lacks {' and '.join(missing)}; the form is {INLINE}")
    link = _from_fields(text, fields, "custom link")
    if like is None:
        return link
    radio = [short for short, field in _SHORT.items() if field in fields and short not in _OF_THE_LINE]
    if radio:
        raise InputError(
            f"link '{text}': the radio's numbers are those of {like.name}; leave out {' and '.join(radio)}"
        )
    return replace(
        like,
        name=text,
        upload_bit_s=link.upload_bit_s,
        download_bit_s=link.download_bit_s,
        round_trip_s=link.round_trip_s,
        source=f"rates given by the user; the radio is that of {like.name}: {like.source}",
    )


# (weaker, other) positions of devices -> their link, or None for a pair without one.
Links = dict[tuple[int, int], Link | None]


def connect(spec: str | Link | Mapping[tuple[str, str], str | Link | None], devices: Sequence[str]) -> Links:
    """Says which link joins each pair of devices.

    The device of a pair that is named first is its weaker one: the link's upload leads away from it, and its radio
    pays in both directions. ``A-B`` and ``B-A`` therefore differ.

    Args:
        spec: One link for every pair (the device listed earlier in ``devices`` is the weaker one), or a text such as
            ``nano-hub: WiFi; nano-server: 4G; hub-server: none``, or a mapping from pairs of names.
        devices: Names of the devices, the edge device first.

    Returns:
        (weaker, other) positions in ``devices`` -> link, or None for a pair without one.

    Raises:
        InputError: A device or link is unknown, or a pair is missing or given twice.
    """
    pairs = [(a, b) for at, a in enumerate(devices) for b in devices[at + 1 :]]
    if isinstance(spec, Link):
        given: dict[tuple[str, str], str | Link | None] = dict.fromkeys(pairs, spec)
    elif isinstance(spec, str):
        given = _parse_pairs(spec, pairs)
    else:
        given = dict(spec)
    result: Links = {}
    for (a, b), link in given.items():
        for name in (a, b):
            if name not in devices:
                raise unknown(f"device in link {a}-{b}", name, devices)
        at, to = list(devices).index(a), list(devices).index(b)
        if at == to or (to, at) in result:
            raise InputError(f"link {a}-{b} joins a device to itself, or the pair twice")
        result[at, to] = load_link(link) if isinstance(link, str) else link
    missing = [f"{a}-{b}" for a, b in pairs if not {(a, b), (b, a)} & set(given)]
    if missing:
        raise InputError(f"no link given for {', '.join(missing)}; name one, or none: '{missing[0]}: none'")
    return result


def _parse_pairs(text: str, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str | Link | None]:
    spelled = {f"{a}-{b}": (a, b) for pair in pairs for a, b in (pair, pair[::-1])}
    first = text.split(";", maxsplit=1)[0].partition(":")[0].strip()
    of_file = text.rpartition(":")[0].endswith(".toml") and first not in spelled
    if ";" not in text and (":" not in text or of_file):
        return dict.fromkeys(pairs, load_link(text.strip()))
    given: dict[tuple[str, str], str | Link | None] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        pair, _, link = (piece.strip() for piece in part.partition(":"))
        if pair not in spelled:
            raise unknown("pair of devices", pair, spelled)
        if spelled[pair] in given:
            raise InputError(f"the link of {pair} is given twice")
        given[spelled[pair]] = None if link.lower() == "none" else link
    return given
