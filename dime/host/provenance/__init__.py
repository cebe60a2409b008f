"""Studies packed so that somebody else can check them, and the check: hashes, claims, everything derived again.

In: folders of studies, or an archive. Out: an archive, or a table of what holds.
"""
