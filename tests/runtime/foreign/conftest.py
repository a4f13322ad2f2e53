"""What lies here is no test: a script that needs PyTorch, and its result."""

collect_ignore = ["make_torch_dcgan.py"]
