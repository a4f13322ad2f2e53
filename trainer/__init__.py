"""Training of GANs: from a recipe and images to a run folder.

training.py        train: what `ganport.train` and the command call
arguments.py       TrainingArguments: the arguments of `train` that decide what a new run trains
plan.py            plan_training: the recipe with all settings resolved, and the images
proposal.py        propose: settings for a folder of images, from its survey
settings.py        settings of a recipe that are changed by name, such as `loss=hinge`
recipe.py          Recipe and Optimizer: two networks and their settings
recipes/           the bundled recipes; recipe_file.py loads the recipe files of users
run.py             Run: the results of a run
run_folder.py      RunFolder: the paths of the files in a run folder, and their content
run_records.py     the records that a run writes: its recipe, its data and its history
start_weights.py   the weights of another run, from which a run starts
history.py         History: what the lines of a history say about progress, time and measures
findings.py        find_new: what goes wrong in a run, found in its history
held_out.py        split_images: the images that a run does not train on
runs.py            the runs under a folder: the newest run, a list of all runs
comparison.py      compare: the settings, measures and curves of several runs
network_configs.py Keras configurations of the networks of a recipe that is neither bundled nor in a file
locks.py           the lock of a run: only one process at a time trains it
devices.py         the import of TensorFlow, and the devices for training
callbacks.py       Callback: how a run reports its progress
remaining_time.py  RemainingTime: an estimate of how long a run still takes
terminal.py        display of the progress on a terminal
notebook.py        display of the progress in a notebook
tensorboard_logs.py logs for TensorBoard
interrupts.py      handling of Ctrl-C and SIGTERM
charts.py          curves of one run or of several, and the animation of a run
errors.py          the errors of this package

The modules above import TensorFlow only when a function needs it. The modules below import it at the top:

loop.py            the training loop: chunks of steps, checkpoints, previews
step.py            one training step, and a compiled function that makes a chunk of many steps
losses.py          losses and penalties
augment.py         augmentation
random_numbers.py  the random numbers of a step
networks.py        the networks of a run, and adam.py their optimizer
ema.py             the averaged generator
feeds.py           how images reach the step
pace.py            the speed of a training, measured before it begins
measures.py        distances of generated images to real images
watch.py           Watch: the facts at a checkpoint from which findings follow
checkpoints.py     saving and loading of checkpoints
"""
