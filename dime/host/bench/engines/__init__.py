"""Where the device side runs for a device: processes of this computer, and containers on Docker engines."""
