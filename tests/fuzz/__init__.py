"""Fuzzing: thousands of damaged and hostile inputs for everything that reads files, texts or requests.

`make fuzz` runs all targets for some seconds each; `python -m tests.fuzz --help` shows the options. A target
is a class with real inputs and a function that reads one input (target.py). A worker process mutates the
inputs (mutations.py) and keeps those that reach new lines of ganport (coverage.py, worker.py). The driver
starts the workers, and again after a crash, and collects the findings (driver.py).
"""
