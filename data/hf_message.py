"""What hf_dump.py says to its user besides its results, one line each on stderr."""
import sys


class Refusal(Exception):
    """Why something is not dumped, in one sentence: what stands in the way, and the way out."""


def warn(text):
    print(f"hf_dump.py: warning: {text}", file=sys.stderr)
