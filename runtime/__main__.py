"""The command `sample` for an app that holds only a copy of this folder.

python -m runtime MODEL --seeds 0-63
"""

# The module `signal` takes milliseconds to import. Ctrl-C would print a traceback during this time.
import _signal  # type: ignore[import-not-found]
import os
import sys

if __name__ == "__main__":
    # Nothing is written yet, so Ctrl-C may end the process at once. An exception could get lost, because
    # NumPy and onnxruntime turn it into an ImportError while they are imported.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(130))

    from .command import guarded, pretrained_model, sample, sample_options, split_debug

    arguments, debug = split_debug(sys.argv[1:])
    command = f"python -m {__package__}"
    sys.exit(guarded(lambda: sample(arguments, pretrained_model, command), sample_options, debug=debug))
