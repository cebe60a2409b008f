"""Tables of timed executions become profiles: seconds and joules of each bundle at each frequency.

In: timings.csv, power traces, published tables. Out: joint_profile.parquet, and a Profile with every raw run behind it.
"""
