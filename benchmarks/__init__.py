"""What users would pick instead, beside this project, in one run."""
