"""`python -m milvus_tools.cli`, which also finds what is in the folder where it runs."""

import sys

from milvus_tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
