"""DIME, Distributed Inference Model Estimation: which layers of a network should run where, and at which clock."""

__version__ = "0.1.0"
