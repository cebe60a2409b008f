"""What authors of plug-ins and of tests need: an engine that fails as asked. Nothing of the product imports it."""
