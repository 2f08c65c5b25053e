"""`python -m embedded OPTIONS`: the supervisor of a detached stack, launched by `up_detached`."""

import os
import sys

if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # the launcher is done, and the supervisor is nobody's child
    from embedded.detached import main

    main(sys.argv[1])
