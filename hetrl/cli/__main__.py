"""``python -m hetrl.cli``: the command line."""

from hetrl.cli import main

if __name__ == "__main__":
    main()
