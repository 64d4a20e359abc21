"""``python -m edgeecg``: the program, where its script is not on the path."""

from edgeecg.cli.main import run

if __name__ == "__main__":
    run()
