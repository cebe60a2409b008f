"""What runs on the lab's computer: devices over the network, power, the joint profile, the planner, the report."""
