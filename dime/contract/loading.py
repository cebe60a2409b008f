"""Whether a module is being loaded: an exception that a signal raises then may be taken for a fault of the module's."""

from types import FrameType
from typing import Optional


def is_loading(frame: Optional[FrameType]) -> bool:
    """Whether a module is being loaded by what runs in a frame."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
