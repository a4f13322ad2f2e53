"""The command `sample` for an app that holds only a copy of this folder.

python -m runtime MODEL --seeds 0-63
"""

import sys

from .command import guarded, pretrained_model, sample, sample_options

if __name__ == "__main__":
    sys.exit(
        guarded(lambda: sample(sys.argv[1:], pretrained_model, f"python -m {__package__}"), sample_options)
    )
