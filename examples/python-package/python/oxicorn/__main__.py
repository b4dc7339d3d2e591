"""python -m oxicorn [OPTIONS] MODULE:APP"""

import sys

from ._oxicorn import main

sys.exit(main(sys.argv[1:]))
