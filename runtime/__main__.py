"""`python -m runtime MODEL --seeds 0-63`: the command `sample` where there is no more of ganport than this folder."""

import sys

from .command import bundled_model, guarded, sample

if __name__ == "__main__":
    sys.exit(guarded(lambda: sample(sys.argv[1:], bundled_model, f"python -m {__package__}")))
