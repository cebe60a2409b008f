"""The command ``dime``: options read and checked, one function of another room called, its result printed.

In: words. Out: words, and an exit status.
"""
