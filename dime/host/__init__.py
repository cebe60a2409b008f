"""What runs on the lab's computer: devices over the network, power, the joint profile, the planner, the report."""

import sys

import dime

notebook = sys.modules[__name__ + ".notebook"] = dime  # what `import dime` was called before; until the next release
