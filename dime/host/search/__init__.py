"""Solvers: every best trade-off, the best plan with its bound, or the limits that exclude each other.

In: a Problem. Out: solutions, frontiers, conflicts.
"""
