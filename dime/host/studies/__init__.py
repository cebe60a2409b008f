"""One study: profiles planned for each link, with all that was found out.

In: what a person typed. Out: a Study, which the report shows.
"""
