"""How a profile is taken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from dime.contract import encodings
from dime.contract.errors import unknown
from dime.contract.run import check_options, frequencies_by_device, parse_frequencies, parse_share
from dime.host.common.options import option


@dataclass(frozen=True)
class ProfileOptions:
    """How a profile is taken; the fields are those of `dime profile`."""

    freqs: str | None = option(
        "[DEVICE=]HZ+HZ (or 460.8MHz), joined by commas; without DEVICE= for each that is named nowhere; without it "
        "all that the board has.",
        None,
    )
    runs: int = option("Timed runs of each bundle in a pass.", 5)
    iterations: int = option("Passes over all bundles, each in another order.", 16)
    warmups: int = option("Runs before them that are not counted.", 2)
    max_layers: int | None = option("Largest bundle; without it the whole network.", None)
    energy_error: str | None = option(
        "Goes on repeating until energies are known so well, such as 3%; for a device with a meter.", None
    )
    encode: str | None = option(
        "Encodings of what crosses a link to measure too: all, or such as input:jpeg90,features:float16.", None
    )
    seed: int = option("Seed of the order of the bundles.", 0)

    def check(self, threads: int | None, devices: Collection[str]) -> None:
        """Makes sure that they have a use on these devices, before anything runs.

        Raises:
            InputError: One has none.
        """
        check_options({**asdict(self), "threads": threads or 0})
        if self.freqs is not None:
            for device, frequencies in frequencies_by_device(self.freqs).items():
                parse_frequencies(frequencies)
                if device and device not in devices:
                    raise unknown("device in freqs", device, devices)
        if self.energy_error is not None:
            parse_share(self.energy_error)
        if self.encode is not None:
            encodings.parse(self.encode)

    def words(self, device: str) -> list[str]:
        """The device side's arguments for a device."""
        by_device = frequencies_by_device(self.freqs) if self.freqs is not None else {}
        frequencies = by_device.get(device, by_device.get(""))
        words = [f"--runs={self.runs}", f"--iterations={self.iterations}", f"--warmups={self.warmups}"]
        words += [f"--seed={self.seed}"]
        words += [f"--max-layers={self.max_layers}"] if self.max_layers is not None else []
        words += [f"--frequencies={frequencies}"] if frequencies is not None else []
        words += [f"--energy-error={self.energy_error}"] if self.energy_error is not None else []
        words += [f"--encode={self.encode}"] if self.encode is not None else []
        return words
