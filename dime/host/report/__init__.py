"""A study as a person reads it: terminal, page, figures, and the folder that keeps them.

In: a Study, or its report.json. Out: report.html, report.json, plan.json, frontier.parquet, pictures. Solves nothing.
"""
