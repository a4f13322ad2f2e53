"""ganport's trainer: a recipe and a data set in, a run folder out.

Modules without TensorFlow: recipe, recipes, datasets, runs. With it: networks, losses, step, ema, checkpoints, loop.
"""
