"""``python -m dime.host`` is the command ``dime``."""

import sys

from dime.host.cli.main import main

sys.exit(main())
