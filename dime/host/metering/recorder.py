"""A meter that is read all the time, and the log that is being written, if any.

Two threads: one only waits for the meter and stamps what arrives; the other writes rows and forces them onto the disk,
so that a slow disk costs no reading. Everything else is asked of the second thread and answered by it in turn.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dime.contract import plugins
from dime.contract.errors import DeviceError, DimeError, TableError
from dime.contract.timebase import monotonic_ns
from dime.host.common.stats import Floats, Ints
from dime.host.metering import gain as gains
from dime.host.metering import judging, meters, power_trace
from dime.host.metering.api import Meter, RecordingEndedError, Sample, Series, kind_of_options, now_ns
from dime.host.metering.power_file import PowerFile
from dime.host.metering.quality import PowerQuality
from dime.host.metering.suspends import Watch

SILENCE_S = 3.0
REOPEN_AFTER_S = 1.0
MOST_WAITING = 4096
RECENT_ROWS = 1 << 19
LEAD_S = 30.0
READINGS_FOR_A_PERIOD = 20
NOT_DROPPED = ("lines read", "meter gone", "counter began anew", "computer slept")
_Answer = TypeVar("_Answer")


class _Batch(NamedTuple):
    """What one reading of the meter brought: samples, all faults so far, and how long this computer slept before."""

    samples: Sequence[Sample]
    faults: Mapping[str, int]
    slept_s: float = 0.0


class _Call(NamedTuple):
    """Something that the writing thread is asked to do, and what does it and answers."""

    run: Callable[[], object]
    answer: Callable[[], None]


_IDLE = _Batch((), {})


@dataclass(frozen=True)
class Status:
    """The live line: W or NaN, readings a second, what was dropped or missed so far, and why there is no reading."""

    power_w: float
    rate_hz: float
    dropped: int
    trouble: str


class _Recent:
    """The last readings, in a ring whose memory is taken at once."""

    def __init__(self) -> None:
        self._integers = np.zeros((3, RECENT_ROWS), np.int64)
        self._breaks = 0
        self._floats = np.zeros((2, RECENT_ROWS))
        self.count = 0

    def add(self, sample: Sample, value: float, step: float) -> None:
        place = self.count % RECENT_ROWS
        self._breaks += sample.breaks
        self._integers[:, place] = sample.time_ms, sample.timestamp_ns, self._breaks
        self._floats[:, place] = value, step
        self.count += 1

    def since(self, timestamp_ns: int) -> tuple[Ints, Ints, Ints, Floats, Floats]:
        """Times, timestamps, numbers of breaks so far, values and steps of the readings from a moment on."""
        number = min(self.count, RECENT_ROWS)
        places = np.arange(self.count - number, self.count) % RECENT_ROWS
        places = places[np.searchsorted(self._integers[1, places], timestamp_ns) :]
        integers, floats = self._integers[:, places], self._floats[:, places]
        return integers[0], integers[1], integers[2], floats[0], floats[1]

    def newest_ns(self) -> int:
        return int(self._integers[1, (self.count - 1) % RECENT_ROWS]) if self.count else 0


class Recorder:
    """Reads a meter from `begin` until closed.

    Args:
        name: The meter's plug-in.
        given: Its options.
        say: Told one line whenever something happens that a person should know.

    Raises:
        DimeError: The meter cannot be opened.
    """

    def __init__(self, name: str, given: Mapping[str, object], say: Callable[[str], None]) -> None:
        self.name = name
        self._plugin, self._say = plugins.load(meters, name), say
        self._options = options = kind_of_options(self._plugin).of(**given)
        self._meter: Meter = self._plugin.open_meter(options)
        self.kind = self._meter.kind
        writer = plugins.load(meters, self._meter.writes)
        self._calibrated = self._meter.gain
        if options.calibration:
            try:
                self._calibrated = gains.of_file(options.calibration, self._meter.writes, self._meter.channel)
            except DimeError:
                self._meter.close()
                raise
        self._gain: gains.Gain = self._calibrated or writer.GAIN
        self._reading = writer.reading(self._meter.columns, self._meter.channel)
        self._queue: queue.Queue[_Batch | _Call] = queue.Queue(MOST_WAITING)
        self._recent = _Recent()
        self._last: Sample | None = None
        self._faults: Counter[str] = Counter()
        self._faults_before: Mapping[str, int] = {}
        self._log: PowerFile | None = None
        self._log_failed = ""
        self._trouble = ""
        self._closing = threading.Event()
        self.failure = ""
        self.ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def is_replay(self) -> bool:
        """Whether the meter is a recording, every row of which counts."""
        return self._meter.origin == "replayed"

    @property
    def writes(self) -> str:
        """The meter whose log it makes: a recording's is that of the meter which was recorded."""
        return self._meter.writes

    @property
    def channel(self) -> str:
        """The parts of the meter that are meant: those named, or else those that the last row shows; or empty."""
        if self._meter.channel or self._last is None:
            return self._meter.channel
        try:
            return judging.as_series(self._meter, [self._last]).channel
        except DimeError:
            return ""

    def begin(self) -> None:
        """Begins to read the meter."""
        self._reader.start()

    @property
    def is_logging(self) -> bool:
        """Whether a log is being written."""
        return self._log is not None

    def _fail(self, error: Exception) -> None:
        """Ends the recorder after a fault of our own, which `failure` tells."""
        self.failure = f"the logger failed: {type(error).__name__}: {error}"
        self.ended.set()

    def _read(self) -> None:
        try:
            self._read_all()
        except Exception as error:
            self._fail(error)

    def _read_all(self) -> None:
        before: Counter[str] = Counter()
        gone, watch, slept_s = False, Watch(), 0.0
        while not self._closing.is_set():
            try:
                samples = self._meter.read()
                woke_after_s = watch.slept_s()
                if woke_after_s and not self.is_replay:
                    slept_s += woke_after_s
                    before += Counter({"computer slept": 1})
                    self._say(f"this computer slept for {woke_after_s:.1f} s; the log is split there")
                if (gone or slept_s) and samples:
                    samples[0] = samples[0]._replace(breaks=True)
                    gone = False
                if samples or self._meter.faults:
                    self._queue.put(_Batch(samples, before + self._meter.faults, slept_s if samples else 0.0))
                    slept_s = 0.0 if samples else slept_s
            except RecordingEndedError:
                self._queue.put(_Batch((), before + self._meter.faults))
                self._say("the recording has ended")
                self.ended.set()
                return
            except DeviceError as error:
                before += self._meter.faults + Counter({"meter gone": 1})
                gone = True
                self._trouble = str(error)
                self._say(f"{error}; waiting for it")
                self._reopen()

    def _reopen(self) -> None:
        """Waits until the meter is back."""
        lost = self._meter
        lost.close()
        while not self._closing.wait(REOPEN_AFTER_S):
            try:
                meter = self._plugin.open_meter(self._options)
            except DimeError:
                continue
            if list(meter.columns) != list(lost.columns):
                meter.close()
                self._trouble = "it came back with other parts than before"
                continue
            self._meter = meter
            self._trouble = ""
            self._say("the meter is back")
            return

    def _work(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=0.2)
            except queue.Empty:
                work = _IDLE
            if isinstance(work, _Batch):
                try:
                    self._keep(work)
                except Exception as error:
                    self._fail(error)
                continue
            work.answer()
            if work.run == self._finish:
                return

    def _keep(self, batch: _Batch) -> None:
        self._faults = Counter(batch.faults) if batch is not _IDLE else self._faults
        for sample in batch.samples:
            self._last = sample
            self._recent.add(sample, *self._reading(sample.text.split(",")))
        if self._log is None:
            return
        try:
            if batch.slept_s:
                self._log.slept(batch.samples[0].timestamp_ns, batch.slept_s)
            self._log.write(batch.samples)
            if self._log.is_due():
                self._log.sync(self._since_start())
        except OSError as error:
            self._log_failed = f"{self._log.path}: {error.strerror}; the log ends there"
            self._log.abandon()
            self._log = None
            self._say(self._log_failed)

    def _since_start(self) -> dict[str, int]:
        return dict(self._faults - Counter(self._faults_before))

    def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        """Has the writing thread do something, after all that was read before."""
        answer: Future[_Answer] = Future()

        def give() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:
                answer.set_exception(error)

        self._queue.put(_Call(call, give))
        return answer.result()

    def wait_for_reading(self) -> None:
        """Waits for the first reading.

        Raises:
            DeviceError: None came in time; the message says what did.
        """
        deadline_ns = monotonic_ns() + int(SILENCE_S * 1e9)
        while not self._recent.count and not self.ended.is_set():
            if monotonic_ns() > deadline_ns:
                raise DeviceError(
                    f"no valid line in {SILENCE_S:g} s; is it logging, at this rate? ({self._meter.silence()})"
                )
            time.sleep(0.01)

    def start(self, path: Path, ended_by: str = "another start") -> None:
        """Starts a log; one that is being written is completed first, unless it is the same.

        Raises:
            DimeError: The file cannot be created; what was being written goes on.
        """
        self._ask(lambda: self._start(path, ended_by))

    def _start(self, path: Path, ended_by: str) -> None:
        if self._log is not None and self._log.path == path:
            return
        log = PowerFile(path, self._meter, self._meter.channel, self._calibrated)
        try:
            self._stop(ended_by)
        except TableError as error:  # of the log before: no reason to refuse this one
            self._say(str(error))
        self._log, self._log_failed, self._faults_before = log, "", self._faults

    def stop(self, ended_by: str) -> Path | None:
        """Completes the log that is being written, if there is one; returns its path.

        Raises:
            TableError: The disk would not take all of it.
        """
        return self._ask(lambda: self._stop(ended_by))

    def _stop(self, ended_by: str) -> Path | None:
        failed, self._log_failed = self._log_failed, ""
        log, self._log = self._log, None
        if failed:
            raise TableError(failed)
        if log is None:
            return None
        try:
            log.close(ended_by, self._since_start())
        except OSError as error:
            raise TableError(f"{log.path}: {error.strerror}; its end is missing") from None
        return log.path

    def mark(self, mark: dict[str, object]) -> None:
        """Adds a mark to the log that is being written, if there is one."""
        self._ask(lambda: self._log.mark(mark) if self._log is not None else None)

    def status(self) -> Status:
        """The last second."""
        return self._ask(self._status)

    def _status(self) -> Status:
        newest_ns = self._recent.newest_ns()
        _, _, breaks, value, _ = self._recent.since(newest_ns - 1_000_000_000)
        value = value[breaks == breaks[-1]] if len(breaks) else value
        trouble = self._trouble
        silent_s = (now_ns() - newest_ns) * 1e-9
        if not trouble and silent_s > SILENCE_S and not self.is_replay:
            trouble = f"silent for {silent_s:.0f} s"
        if not trouble and len(value) and not math.isfinite(value[-1]):
            trouble = "no single channel is on: choose one with --channel"
        power_w = math.nan
        if len(value) > 1:
            known = value[np.isfinite(value)]
            rise = float(value[-1] - value[0])
            power_w = rise if self.kind == "energy" else float(known.mean()) if len(known) else math.nan
            power_w *= self._gain.factor
        missing = self._log.quality()["readings_missing_in_gaps"] if self._log is not None else 0
        dropped = sum(count for name, count in self._faults.items() if name not in NOT_DROPPED)
        return Status(power_w, float(max(len(value) - 1, 0)), dropped + missing, trouble)

    def period_s(self) -> float:
        """The usual time between two readings; waits until some have been seen."""
        deadline_ns = monotonic_ns() + int(SILENCE_S * 1e9)
        while self._recent.count < READINGS_FOR_A_PERIOD and monotonic_ns() < deadline_ns:
            time.sleep(0.01)
        return self._ask(self._period_s)

    def _period_s(self) -> float:
        time_ms, timestamp_ns, _, _, _ = self._recent.since(0)
        steps_s = np.diff(time_ms[-1000:]) * 1e-3 if self._meter.own_clock else np.diff(timestamp_ns[-1000:]) * 1e-9
        steps_s = steps_s[steps_s > 0]
        return float(np.median(steps_s)) if len(steps_s) else 0.0

    def trace(self, since_ns: int, until_ns: int, patience_s: float) -> power_trace.Trace:
        """The recent readings, once they reach a moment.

        Args:
            since_ns: The earliest moment needed, on the logger's clock.
            until_ns: The latest.
            patience_s: How long to wait for it.

        Returns:
            The trace, beginning somewhat earlier to have the arrivals of more lines.

        Raises:
            TableError: There are no readings.
        """
        deadline_ns = monotonic_ns() + int(patience_s * 1e9)
        while True:
            arrived = self._recent.newest_ns() > until_ns
            late = monotonic_ns() > deadline_ns
            trace = self._ask(lambda: self._trace(since_ns)) if arrived or late else None
            # A line stands for a moment before its arrival: the newest one may not reach as far as it came late.
            if trace is not None and (late or trace.seconds(np.array([until_ns]))[0] <= trace.time_s[-1]):
                return trace
            time.sleep(0.01)

    def _trace(self, since_ns: int) -> power_trace.Trace:
        time_ms, timestamp_ns, breaks, value, step = self._recent.since(since_ns - int(LEAD_S * 1e9))
        on = np.isfinite(value)
        meter = self._meter
        series = Series("", meter.kind, meter.own_clock, np.where(on, value, 0.0), np.where(on, step, 0.0), on)
        breaks_ns = timestamp_ns[1:][np.diff(breaks) > 0].tolist()
        quality: PowerQuality = {"wire_s": meter.wire_s, "breaks_ns": breaks_ns}
        return power_trace.build(series, time_ms, timestamp_ns, self.name, quality, self._gain)

    def close(self, ended_by: str) -> Path | None:
        """Completes the log and lets go of the meter.

        Returns:
            The log's path, if one was being written.

        Raises:
            TableError: The disk would not take all of the log.
        """
        self._closing.set()
        if self._reader.ident is not None:
            self._reader.join()
        try:
            return self.stop(ended_by)
        finally:
            self._ask(self._finish)
            self._meter.close()

    def _finish(self) -> None:
        """The last thing that the writing thread does."""
