"""How a profile is taken."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dime.contract.run import check_options, parse_frequencies, parse_share
from dime.host.common.options import option


@dataclass(frozen=True)
class ProfileOptions:
    """How a profile is taken; the fields are those of `dime profile`."""

    freqs: str | None = option(
        "Frequencies in Hz or as 460.8MHz, joined by commas; without it all that the board has.", None
    )
    runs: int = option("Timed runs of each bundle in a pass.", 20)
    iterations: int = option("Passes over all bundles, each in another order.", 5)
    warmups: int = option("Runs before them that are not counted.", 2)
    max_layers: int | None = option("Largest bundle; without it the whole network.", None)
    energy_error: str | None = option(
        "Goes on repeating until energies are known so well, such as 3%; for a device with a meter.", None
    )
    seed: int = option("Seed of the order of the bundles.", 0)

    def check(self, threads: int | None) -> None:
        """Makes sure that they have a use, before anything runs.

        Raises:
            InputError: One has none.
        """
        check_options({**asdict(self), "threads": threads or 0})
        if self.freqs is not None:
            parse_frequencies(self.freqs)
        if self.energy_error is not None:
            parse_share(self.energy_error)

    def words(self) -> list[str]:
        """The device side's arguments."""
        words = [f"--runs={self.runs}", f"--iterations={self.iterations}", f"--warmups={self.warmups}"]
        words += [f"--seed={self.seed}"]
        words += [f"--max-layers={self.max_layers}"] if self.max_layers is not None else []
        words += [f"--frequencies={self.freqs}"] if self.freqs is not None else []
        words += [f"--energy-error={self.energy_error}"] if self.energy_error is not None else []
        return words
