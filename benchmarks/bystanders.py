"""Whose faces are left alone because nobody photographed them: in the background, or cut off by the border.

    python benchmarks/bystanders.py data              # the photographs of LFW that blind_runs.py does not look at
    python benchmarks/bystanders.py data --blind      # those that it restores without references

A line for each photograph in which the rule leaves a face alone that would be restored without it, with what is still
restored there; then the counts.
"""

import argparse
from collections import Counter
from pathlib import Path

from blind_runs import cases, portraits
from rich.progress import track

from faceref.errors import NoFaceError
from faceref.restore.left_alone import LeftAlone
from faceref.restore.restorer import Restorer

BYSTANDERS = (LeftAlone.BACKGROUND, LeftAlone.CUT_OFF)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--blind", action="store_true")
    arguments = parser.parse_args()
    if arguments.blind:
        photographs = [photograph for photograph, references in cases(arguments.data) if not references]
    else:
        photographs = portraits(arguments.data)[1]
    restorer = Restorer.from_pretrained()
    counts: Counter[str] = Counter()
    for photograph in track(photographs, description="looking"):
        became = what_becomes(restorer, photograph)
        left, restored = sum(became[reason] for reason in BYSTANDERS), became[None]
        counts["with several faces"] += became.total() > 1
        counts["changed without the rule"] += left + restored > 0
        counts["changed by the rule"] += left > 0
        counts["changed still"] += restored > 0
        counts.update({reason: became[reason] for reason in BYSTANDERS})
        if left:
            reasons = ", ".join(f"{became[reason]} {reason}" for reason in BYSTANDERS if became[reason])
            print(f"{photograph.stem}: {reasons}; {restored} restored")
    print(f"{len(photographs)} photographs; " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))


def what_becomes(restorer: Restorer, photograph: Path) -> Counter[LeftAlone | None]:
    """How many faces are left alone for which reason, restored: None; none at all in a photograph without a face."""
    try:
        return Counter(one.left_alone for one in restorer.match(photograph).assignments)
    except NoFaceError:
        return Counter()


if __name__ == "__main__":
    main()
