"""`python -m runtime MODEL --seeds 0-63`: the command `sample` where there is no more of ganport than this folder."""

import sys

from .command import bundled_model, sample
from .errors import GanportError, UsageError

if __name__ == "__main__":
    try:
        sample(sys.argv[1:], bundled_model)
    except GanportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
