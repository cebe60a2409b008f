"""Any machine: its CPU's own clocks where they may be set, and otherwise none."""

from dime.device.boards import _cpufreq

SWEEPS = False


def frequencies_hz(root="/"):
    """The CPU's frequencies, ascending, if it lists them and they may be set; otherwise none."""
    return _cpufreq.frequencies_hz(root)


def fixed(frequency_hz, root="/", ledger=None):
    """Fixes all CPUs at a frequency; see `dime.device.boards`."""
    return _cpufreq.fixed(frequency_hz, root, ledger)


def describe(root="/"):
    """The machine as it is now; see `dime.device.boards`."""
    return _cpufreq.describe(root)
