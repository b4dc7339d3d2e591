"""A module that wants to end the process while it is imported."""

import sys

sys.exit(0)
