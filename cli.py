"""`python cli.py ...` in a clone of the repository: the command line without an installation."""

import _signal  # type: ignore[import-not-found]
import os

if __name__ == "__main__":
    # As in `ganport.__main__`, Ctrl-C may end the process at once, also while that module is imported.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(130))

    from ganport.__main__ import main

    main()
