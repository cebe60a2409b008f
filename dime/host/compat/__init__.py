"""What was published before: its sweeps and their tables.

In: problems. Out: files in the published form.
"""
