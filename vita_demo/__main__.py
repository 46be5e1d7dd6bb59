"""``python -m vita_demo`` is ``vita-demo``."""

from vita_demo.cli import main

if __name__ == "__main__":
    main()
