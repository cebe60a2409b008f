"""The errors a person can mend. Everything else is a defect and keeps its traceback."""

from typing import Dict, Iterable, Optional, Tuple


class DimeError(Exception):
    """A failure with a cause that the person at the keyboard can act on.

    Args:
        message: One line that names the thing, its state and what to do about it.

    Attributes:
        retryable: Whether the same call may succeed when it is simply made again.
    """

    retryable = False


class InputError(DimeError):
    """An option, name or value that DIME does not know or cannot use."""


class TableError(DimeError):
    """A file of measurements that is missing, damaged, or lacks what was asked of it."""


class DeviceError(DimeError):
    """A device, board or meter that cannot do what was asked of it."""


class ConnectionLostError(DeviceError):
    """A device that stopped answering; the work on it may still be going on."""

    retryable = True


class NotLetInError(DeviceError):
    """A device that answers and lets nobody in, such as one with another host key; the work on it may go on."""


class InfeasibleError(DimeError):
    """A planning problem whose limits no plan can meet."""


class OutOfTimeError(InputError):
    """A search that did not finish in the time it was given; with more time it may.

    Args:
        message: One line, as for every error.
        plan: The steps of the best plan found by then, or None.
        bound: No plan has a better value of the goal; None if that is not known.
        objective: The value of the plan; None without one.
    """

    def __init__(
        self,
        message: str,
        plan: Optional[Tuple[object, ...]] = None,
        bound: Optional[float] = None,
        objective: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.plan = plan
        self.bound = bound
        self.objective = objective

    @property
    def gap(self) -> Optional[float]:
        """(objective - bound) / objective, or None where one of them is not known."""
        if self.objective is None or self.bound is None:
            return None
        return max(0.0, self.objective - self.bound) / self.objective if self.objective else 0.0


def unknown(kind: str, name: object, known: Iterable[object], where: str = "") -> InputError:
    """Builds the error for a name that is not among the known ones.

    Args:
        kind: What the name should have named, such as ``"network"``.
        name: What was given.
        known: Iterable of the names that would have been accepted.
        where: What is to be said of where they are known.

    Returns:
        InputError: Its message lists the known names, and names the nearest one.
    """
    names = sorted(map(str, known))
    text = "unknown {} '{}'; known: {}{}".format(kind, name, ", ".join(names) or "none", where)
    return InputError(text + nearest(str(name), names))


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The question whether a known word was meant, or nothing; upper and lower case are alike."""
    small: Dict[str, str] = {}
    for one in known:
        small.setdefault(one.lower(), one)
    import difflib  # only where something went wrong

    found = difflib.get_close_matches(word.lower()[:100], list(small), 1, alike)
    return "; did you mean '{}'?".format(small[found[0]]) if found else ""
