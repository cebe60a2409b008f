"""What is to be solved, and what an answer is: goals, limits, links, Problem, Plan.

In: profiles and links. Out: a frozen Problem in integers, and a Plan whose cost is computed again from the problem
alone. Holds no solver.
"""
