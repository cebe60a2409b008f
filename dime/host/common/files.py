"""The hash of a file, under the name that volumes.py knows."""

from dime.contract.files import digest as sha256

__all__ = ["sha256"]
