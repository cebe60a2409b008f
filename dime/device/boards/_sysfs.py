"""What boards share: clocks that the kernel shows as files, fixed in the order it demands, and put back afterwards."""

import glob
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Optional, Sequence

from dime.contract import files, schemas
from dime.contract.errors import DeviceError
from dime.device import storage

if TYPE_CHECKING:
    from dime.device.boards import Facts

Entry = List[Any]  # Any: texts, then numbers; `_is_entry` looks at those that stood in a file.

SETTLE_S = 1.0  # A governor may take some periods to follow.
LOOK_S = 0.001
# A clock that is made by dividing another one reads back as 599999 kHz where 600000 was set. Steps lie farther apart.
TOLERANCE = 1e-3


def is_same(found_hz: float, wanted_hz: float) -> bool:
    """Whether a frequency that was read back is the one that was set, within the tolerance."""
    return abs(found_hz - wanted_hz) <= TOLERANCE * wanted_hz


def nearest(wanted_hz: int, known_hz: Iterable[int]) -> Optional[int]:
    """The known frequency that is meant by one that may have been read back; None if there is none.

    Args:
        wanted_hz: The frequency.
        known_hz: Those that can be set.
    """
    same = [known for known in known_hz if is_same(wanted_hz, known)]
    return min(same, key=lambda known: abs(known - wanted_hz)) if same else None


def read(path: str) -> Optional[str]:
    """Reads a file of sysfs, without the line's end and the device tree's zero byte.

    Returns:
        str: The text, or None if it cannot be read.
    """
    try:
        with open(path) as stream:
            return stream.read().strip().strip("\0")
    except (EnvironmentError, UnicodeDecodeError):
        return None


def write(path: str, text: object) -> None:
    """Writes a file of sysfs.

    Raises:
        DeviceError: The kernel refused; the message says how it may be mended.
    """
    try:
        _put(path, str(text))
    except EnvironmentError as error:
        raise DeviceError(
            "cannot write {} to {}: {}; fixing a clock needs root, and in a container --privileged".format(
                text, path, error.strerror
            )
        )


def _put(path: str, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)


def remove_folder(path: str) -> None:
    """Removes a folder whose files are the kernel's; one that something else is still in stays."""
    try:
        _remove(path)
    except EnvironmentError:
        pass


def _remove(path: str) -> None:
    os.rmdir(path)


class Clock(object):
    """One clock: a folder with the limits between which its governor chooses.

    Args:
        folder: Path of the folder.
        prefix: What the files' names begin with.
        unit_hz: Hertz in one of its numbers.
    """

    def __init__(self, folder: str, prefix: str, unit_hz: int) -> None:
        self._folder = folder
        self._prefix = prefix
        self._unit_hz = unit_hz

    @classmethod
    def devfreq(cls, folder: str) -> "Clock":
        """A clock under devfreq: min_freq, max_freq, cur_freq in hertz."""
        return cls(folder, "", 1)

    @classmethod
    def cpufreq(cls, folder: str) -> "Clock":
        """A CPU's policy under cpufreq: scaling_min_freq, scaling_max_freq, scaling_cur_freq in kilohertz."""
        return cls(folder, "scaling_", 1000)

    def path(self, name: str) -> str:
        """Path of one of its files, such as ``governor``."""
        return os.path.join(self._folder, self._prefix + name)

    def steps_hz(self) -> List[int]:
        """Its frequencies, ascending; empty if the kernel lists none."""
        return sorted(int(step) * self._unit_hz for step in (read(self.path("available_frequencies")) or "").split())

    def get_hz(self, name: str) -> int:
        """One of ``min``, ``max``, ``cur``.

        Raises:
            DeviceError: It cannot be read.
        """
        text = read(self.path(name + "_freq"))
        if text is None or not text.isdigit():
            raise DeviceError("cannot read a frequency from {}: {!r}".format(self.path(name + "_freq"), text))
        return int(text) * self._unit_hz

    def writable(self) -> bool:
        """Whether its limits may be set."""
        return all(os.access(self.path(name), os.W_OK) for name in ("min_freq", "max_freq"))

    def limit(self, lowest_hz: int, highest_hz: int) -> None:
        """Sets both limits, in the order in which the kernel never sees the lower above the higher."""
        steps_hz = self.steps_hz()  # of which a limit may read back a little off; the kernel would take the one below
        limits = [(name, nearest(hz, steps_hz) or hz) for name, hz in (("min", lowest_hz), ("max", highest_hz))]
        if limits[1][1] >= self.get_hz("max"):
            limits.reverse()
        for name, value_hz in limits:
            write(self.path(name + "_freq"), value_hz // self._unit_hz)

    def fix(self, frequency_hz: int) -> int:
        """Fixes the clock and makes sure that it sticks.

        Returns:
            int: What it reads afterwards.

        Raises:
            DeviceError: A limit or the clock reads differently afterwards.
        """
        self.limit(frequency_hz, frequency_hz)
        return self.verify(frequency_hz)

    def verify(self, frequency_hz: int) -> int:
        """Makes sure that the clock is fixed at a frequency.

        Returns:
            int: What the clock reads: the frequency, or what is the same within the tolerance.

        Raises:
            DeviceError: A limit or, for longer than a governor may take, the clock itself reads differently.
        """
        for name in ("min", "max"):
            self._expect(name, frequency_hz)
        give_up = time.monotonic() + SETTLE_S
        while not is_same(self.get_hz("cur"), frequency_hz) and time.monotonic() < give_up:
            time.sleep(LOOK_S)
        return self._expect("cur", frequency_hz)

    def _expect(self, name: str, frequency_hz: int) -> int:
        found_hz = self.get_hz(name)
        if not is_same(found_hz, frequency_hz):
            raise DeviceError(
                "{} reads {} Hz after {} Hz was set; the clock does not stick".format(
                    self.path(name + "_freq"), found_hz, frequency_hz
                )
            )
        return found_hz

    def saved(self) -> Entry:
        """What has to be put back, as an entry of a ledger."""
        return ["clock", self._folder, self._prefix, self._unit_hz, self.get_hz("min"), self.get_hz("max")]


def saved_text(path: str) -> Optional[Entry]:
    """What has to be put back in one file, as an entry of a ledger; None if the file is not there."""
    text = read(path)
    return None if text is None else ["text", path, text]


def _is_entry(entry: object) -> bool:
    """Whether a value read from a ledger has the form of `Clock.saved` or `saved_text`."""
    if not isinstance(entry, list) or not all(isinstance(text, str) for text in entry[:3]):
        return False
    if entry[:1] == ["text"]:
        return len(entry) == 3
    numbers = entry[3:]
    return (
        entry[:1] == ["clock"]
        and len(numbers) == 3
        and all(isinstance(one, int) and not isinstance(one, bool) and 0 < one < 2**62 for one in numbers)
    )


def put_back(entries: Sequence[Entry]) -> None:
    """Puts back what entries of a ledger say, the last change first; goes on after a failure.

    Raises:
        DeviceError: The first failure.
    """
    failures = []
    for entry in reversed(entries):
        try:
            clock = Clock(*entry[1:4]) if entry[0] == "clock" else None
            if (clock.saved() if clock else saved_text(entry[1])) == entry:
                continue
            if clock:
                clock.limit(*entry[4:6])
            else:
                write(entry[1], entry[2])
        except DeviceError as error:
            failures.append(error)
    if failures:
        raise failures[0]


@contextmanager
def restoring(entries: Iterable[Optional[Entry]], ledger: Optional[str] = None) -> Iterator[None]:
    """Puts entries back on every way out.

    Args:
        entries: Entries from `Clock.saved` and `saved_text`, in the order in which things will be changed.
        ledger: File that holds them meanwhile; None for none.

    Raises:
        TableError: Another process holds the first of the clocks.
    """
    kept = [entry for entry in entries if entry is not None]
    with storage.locked(next(entry[1] for entry in kept if entry[0] == "clock")):
        if ledger is not None:
            files.replace(ledger, json.dumps(schemas.stamped(schemas.CLOCKS_TO_RESTORE, {"entries": kept})).encode())
        try:
            yield
        finally:
            put_back(kept)
            if ledger is not None:
                os.remove(ledger)


def settle(ledger: str) -> bool:
    """Puts back what a process that was killed had changed.

    Args:
        ledger: The file it left, if any.

    Returns:
        bool: Whether there was one.

    Raises:
        DeviceError: The ledger is damaged, or the kernel refused.
    """
    if not os.path.exists(ledger):
        return False
    try:
        with open(ledger) as stream:
            entries = json.load(stream)
        if isinstance(entries, dict):  # before it had a schema it was the list alone
            schemas.version(schemas.CLOCKS_TO_RESTORE, entries, ledger)
            entries = entries.get("entries")
        if not isinstance(entries, list) or not all(map(_is_entry, entries)):
            raise ValueError("it has other entries than ours")
    except (EnvironmentError, ValueError, RecursionError) as error:
        raise DeviceError("{} is damaged ({}); set the clocks by hand and remove it".format(ledger, error))
    put_back(entries)
    os.remove(ledger)
    return True


def temperatures_c(root: str) -> Dict[str, float]:
    """Thermal zones that can be read, with their temperatures in degrees Celsius."""
    found = {}
    for zone in sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*"))):
        text = read(os.path.join(zone, "temp"))
        name = read(os.path.join(zone, "type")) or os.path.basename(zone)
        if text is not None and text.lstrip("-").isdigit():
            found[name if name not in found else name + " " + os.path.basename(zone)] = int(text) / 1000.0
    return found


def throttled(root: str) -> List[str]:
    """Names of the cooling devices, fans apart, that are slowing something down right now."""
    found = []
    for device in sorted(glob.glob(os.path.join(root, "sys/class/thermal/cooling_device*"))):
        name = read(os.path.join(device, "type")) or os.path.basename(device)
        state = read(os.path.join(device, "cur_state")) or "0"
        if "fan" not in name.lower() and state.isdigit() and int(state) > 0:
            found.append(name)
    return found


def describe(root: str) -> "Facts":
    """What every Linux board says of itself: model, CPUs, memory, CPU governor, temperatures."""
    memory = (read(os.path.join(root, "proc/meminfo")) or "").split()
    lines = (read(os.path.join(root, "proc/cpuinfo")) or "").splitlines()
    names = [line for line in lines if line.startswith("model name")]
    model = read(os.path.join(root, "sys/firmware/devicetree/base/model"))
    return {
        "model": model or (names[0].split(":", 1)[1].strip() if names else "unknown"),
        "cpus_online": read(os.path.join(root, "sys/devices/system/cpu/online")),
        "memory_bytes": int(memory[1]) * 1024 if memory[:1] == ["MemTotal:"] else None,
        "governor": read(os.path.join(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "temperatures_c": temperatures_c(root),
        "throttled": throttled(root),
    }
