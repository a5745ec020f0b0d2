"""A program: kills a process in the middle of adding to somebody in the library FOLDER, 200 times at random moments.

Prints how often the person was as before, and as after; fails where they were neither. On its own, because a process
that has not loaded what a whole run of the tests has is forked in a moment.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from invented_person import contents, invented

from faceref.people.library import Library


def main(folder: Path) -> None:
    library = Library(folder)
    library.enroll("Ada", invented(1))
    states = [contents(invented(1)), contents(invented(1, 2))]
    more, rng, ends = invented(2), random.Random(0), [0, 0]
    usual = min(seconds_to_enroll(library, f"Grace {i}") for i in range(5))  # however busy the machine is just now
    for _ in range(200):
        child = os.fork()
        if child == 0:
            try:
                library.add("Ada", more)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, 4 * usual))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = states.index(contents(library.get("Ada")))  # ValueError: neither
        ends[state] += 1
        if state == 1:
            library.remove("Ada")
            library.enroll("Ada", invented(1))
    print(*ends)


def seconds_to_enroll(library: Library, name: str) -> float:
    start = time.perf_counter()
    library.enroll(name, invented(2))
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]))
