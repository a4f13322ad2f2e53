"""`python cli.py ...` in a clone of the repository: the command line without an installation."""

from ganport.__main__ import main

if __name__ == "__main__":
    main()
