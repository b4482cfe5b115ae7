"""`python -m scrubbing`: the command line."""

from scrubbing.cli import main

if __name__ == "__main__":
    main()
