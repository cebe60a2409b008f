"""A meter's bytes become a power log and a trace of watts.

In: a serial port, a socket, sysfs, a library, or a recording. Out: power.csv, quality file, and joules of a window with
their error. Knows no engine and no network.
"""
