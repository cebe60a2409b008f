"""What runs on the device: networks, feature maps, boards, timings. Python 3.6 and torch 1.10 up to today's."""
