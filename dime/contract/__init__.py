"""What device and host agree on: tables, bundles, run descriptions, messages. Python 3.6, standard library only."""
