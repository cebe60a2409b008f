"""The lab's devices and their engines: what the lab file says, connections, images, containers, volumes.

In: lab.toml and a job. Out: the job's folder on this computer, and a device left as it was. Knows no meter.
"""
