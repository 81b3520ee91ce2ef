"""`python3 -m hanse.controller`."""

from hanse.controller.main import main

if __name__ == "__main__":
    main()
