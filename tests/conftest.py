"""Tests see the same environment whether make started them or not."""

import os

# `make test` passes its own level, flags and NAME=value on to every make below it, also to those that tests start
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)
