"""Power meters: one file each. What a meter's module defines stands in dime/host/metering/api.py."""
