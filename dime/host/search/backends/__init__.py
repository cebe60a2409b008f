"""Forms of label setting: plain Python, compiled, and arrays for more than two quantities. All of them find the same.

In: a graph and costs of its arcs. Out: the undominated labels of every node.
"""
