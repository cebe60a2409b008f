"""What a plan means: baselines, alternatives, break-even points, certainty.

In: a Problem, its solution, and the profiles. Out: data for a report; no sentence.
"""
