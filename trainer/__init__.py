"""ganport's trainer: a recipe and a data set in, a run folder out.

Modules without TensorFlow: recipe, recipes, datasets, npz, runs, report; devices brings it in. With it: networks, losses, step,
ema, checkpoints, loop.
"""
