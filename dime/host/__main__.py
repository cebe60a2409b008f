"""``python -m dime.host`` is the command ``dime``."""

import sys


def main() -> int:
    """Runs one command; Ctrl-C while Python still loads is Ctrl-C as well."""
    try:
        from dime.host.cli.main import main as run
    except KeyboardInterrupt:
        print("dime: interrupted; nothing was done", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
