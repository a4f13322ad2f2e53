"""The script in this folder needs PyTorch and is not a test."""

collect_ignore = ["make_torch_dcgan.py"]
