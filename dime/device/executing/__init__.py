"""What runs on a device when parts of a network are run on several: the connection between two of them."""
