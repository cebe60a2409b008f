"""Images: built from a checkout and pushed to a registry, and brought to a device in the cheapest way."""
