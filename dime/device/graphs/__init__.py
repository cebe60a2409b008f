"""A network as data: its operations as a checked JSON document, its tensors as raw bytes, and what runs any part of it.

In: a model of PyTorch, traced where today's torch is. Out: ``graph.json`` and ``tensors.raw``, which a device runs
without any code of the model's.
"""

FOLDER = "graph"  # of a network's feature maps, so that both always travel together
