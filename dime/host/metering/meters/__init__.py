"""Power meters: one file each. A meter's module defines ``available``, ``open_meter`` and ``series``; see ``_base``."""
