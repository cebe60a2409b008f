"""A bench without hardware: an engine for the host, stand-in boards reached over ssh, a registry, a shaped link.

``python -m tests.lab up`` makes it on a bare Debian machine (root); ``down`` stops it, ``down --purge`` forgets it too.
"""
