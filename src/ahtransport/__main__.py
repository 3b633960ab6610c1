"""``python -m ahtransport``: the command line, for when the script is not on the PATH."""

from ahtransport.cli import main

if __name__ == "__main__":
    main(prog_name="python -m ahtransport")
