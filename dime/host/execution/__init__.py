"""Plans that are run: on the devices they are for, each stage timed, and held against what was predicted.

In: a study's folder, and the devices. Out: verification.parquet and verification.json, a section of the report.
"""
