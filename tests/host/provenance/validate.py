"""Holds an archive against the profiles of RO-Crate, without a network: ``python validate.py ARCHIVE``.

It needs roc-validator 0.13, whose dependencies exclude those of our linters: a virtual environment of its own has it.
"""

import json
import sys
from pathlib import Path

PROFILES = ("ro-crate-1.2", "process-run-crate-0.5", "workflow-run-crate-0.5", "workflow-ro-crate-1.0")


def main(archive: str) -> int:
    import rocrate
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    context = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text())
    context["@context"]["ComputationalWorkflow"] = "https://bioschemas.org/ComputationalWorkflow"  # as 1.2 has it

    class Answer:
        """The context as the library ships it: nothing is asked of a network."""

        status_code, ok, headers, text = 200, True, {"Content-Type": "application/ld+json"}, json.dumps(context)
        content = text.encode()

        def json(self):
            return context

        def raise_for_status(self):
            pass

    for name in ("get", "head"):
        setattr(HttpRequester, name, lambda *_, **__: Answer())
    violations = 0
    for profile in PROFILES:  # what the others inherit is of RO-Crate 1.1
        settings = services.ValidationSettings(
            rocrate_uri=models.URI(archive),
            profile_identifier=profile,
            requirement_severity=models.Severity.REQUIRED,
            disable_inherited_profiles_issue_reporting=profile != PROFILES[0],
        )
        found = services.validate(settings).get_issues()
        violations += len(found)
        print(
            f"{profile}: {len(found)} violations",
            *(f"  {one.message} {one.violatingEntity}" for one in found),
            sep="\n",
        )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
