"""`python -m turbobatch`: the same as the `turbobatch` command."""

from turbobatch.cli import main

if __name__ == "__main__":
    main()
