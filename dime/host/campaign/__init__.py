"""Measuring: a network's profile on each device of the lab with its meter, and the doctor that tries the lab first.

In: names of devices and options. Out: complete folders of runs. The only room that joins bench and metering.
"""
