"""Many clients of one server, each with its own person: nothing lost, nothing mixed up, how fast; also under kill -9.

python benchmarks/server_load.py data/raw-people --clients 8 --requests 200
python benchmarks/server_load.py data/raw-people --clients 8 --requests 20 --kills 20
"""

import argparse
import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from threading import Event, Thread

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families
from server_process import Served, plain_client, served

from faceref import RestoreOptions, Restorer
from faceref.client import Client, ServerError
from faceref.errors import FacerefError

SEEDS = 2  # different pictures that a client asks for, in turn
AGAIN = 0.2  # seconds until a client tries again whom the server did not answer


@dataclass(frozen=True)
class Customer:
    """A client with a token of its own: its person, a photograph of them, and what each seed makes of it."""

    token: str
    name: str
    references: list[bytes]
    photo: bytes
    expected: list[bytes]

    def options(self, request: int) -> RestoreOptions:
        return RestoreOptions(always=True, seed=request % SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, help="a folder with a folder of photographs for each person")
    parser.add_argument("--model", default="small", help="small, refldm-512 or a model folder")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200, help="of each client")
    parser.add_argument("--kills", type=int, default=0, help="how often the server is killed meanwhile")
    parser.add_argument("--serve", nargs="*", default=[], help="more options of faceref serve, without their dashes")
    arguments = parser.parse_args()
    print(f"load of the machine at the beginning {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    customers = list(_customers(arguments.people, arguments.model, arguments.clients))
    options = [f"--{option}" for option in arguments.serve]
    run(customers, arguments.model, arguments.requests, arguments.kills, options)
    print(f"load of the machine at the end {os.getloadavg()[0]:.1f}")


def run(customers: list[Customer], model: str | Path, requests: int, kills: int, options: list[str]) -> None:
    """Prints what was measured. Raises AssertionError for a result that was lost or is another's."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tokens = [one.token for one in customers]
        start = ServerThatDies(model, Path(folder), options, tokens)
        stack.enter_context(start.running())
        for one in customers:
            Client(token=one.token, http=plain_client(start.address)).enroll(one.name, one.references)
        began, ended = time.monotonic(), Event()
        print(f"{len(customers)} people are enrolled", flush=True)
        killer = Thread(target=start.die, args=(kills, ended))
        killer.start()
        with ThreadPoolExecutor(len(customers)) as threads:
            seconds = [one for part in threads.map(lambda one: ask(one, start, requests), customers) for one in part]
        ended.set()
        killer.join()
        wall = time.monotonic() - began
        finished = start.finished()
    total = requests * len(customers)
    assert len(seconds) == finished == total, f"{finished} jobs were finished of {total}"
    print(f"{total} requests of {len(customers)} clients, {start.deaths} kills: none lost, none mixed up, each once")
    print(f"seconds for one: p50 {median(seconds):.2f}, p95 {quantiles(seconds, n=20)[-1]:.2f}")
    print(f"{total / wall:.2f} requests a second in {wall:.0f} s, peak memory {start.peak / 2**20:.0f} MiB", flush=True)


class ServerThatDies:
    """One data folder and the servers that work on it, one after the other."""

    def __init__(self, model: str | Path, folder: Path, options: list[str], tokens: list[str]) -> None:
        self.arguments = (model, folder, *options)
        self.tokens = tokens
        self.peak = self.deaths = 0
        self._stack = ExitStack()
        self._server: Served | None = None

    @property
    def address(self) -> str:
        assert self._server is not None
        return self._server.address

    @contextmanager
    def running(self) -> Iterator[None]:
        self._begin()
        try:
            yield
            self._look()
        finally:
            self._stack.close()

    def die(self, times: int, ended: Event) -> None:
        """Kill the server so many times, each time after it has finished a job and begun with the next."""
        rng = random.Random(0)
        while self.deaths < times and not ended.is_set():
            before = self.finished()
            while self.finished() == before and not ended.wait(AGAIN):
                pass
            ended.wait(rng.uniform(0, 3))
            self._look()
            self._stack.close()
            self.deaths += 1
            print(f"killed for the {self.deaths}. time, {before + 1} jobs or more are finished", flush=True)
            self._begin()

    def finished(self) -> int:
        """How many jobs were finished since the first start, by the server's own count, which is kept."""
        headers = {"Authorization": f"Bearer {self.tokens[0]}"}
        with plain_client(self.address) as http:
            text = http.get("/metrics", headers=headers).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return round(sum(sample.value for sample in samples if sample.name == "faceref_jobs_finished_total"))

    def _begin(self) -> None:
        self._server = self._stack.enter_context(served(*self.arguments, tokens=self.tokens))

    def _look(self) -> None:
        assert self._server is not None
        self.peak = max(self.peak, self._server.peak_memory)


def ask(customer: Customer, server: ServerThatDies, requests: int) -> list[float]:
    """Have every picture restored, again where the server was gone; the seconds for each."""
    seconds = []
    for request in range(requests):
        began = time.monotonic()
        while (restored := _restored(customer, server, request)) is None:
            time.sleep(AGAIN)
        seconds.append(time.monotonic() - began)
        assert restored == customer.expected[request % SEEDS], f"{customer.name} got another picture"
    return seconds


def _restored(customer: Customer, server: ServerThatDies, request: int) -> bytes | None:
    """The picture, None where no server answered; the same key is sent again, so that no job is done twice."""
    with Client(token=customer.token, http=plain_client(server.address)) as client:
        try:
            job = client.submit(
                customer.photo,
                people=[customer.name],
                options=customer.options(request),
                idempotency_key=f"{customer.name} {request}",
            )
            deque(client.follow(job.id), maxlen=0)  # until it is over
            data = client.result(job.id)[0]
        except httpx.TransportError:
            return None
        with suppress(httpx.TransportError, ServerError):  # it is forgotten later, or was already
            client.cancel(job.id)
        return data


def _customers(folder: Path, model: str, count: int) -> Iterator[Customer]:
    """The first so many people with three photographs or more, and what is restored for each, one after the other."""
    restorer = Restorer.from_pretrained(model, device="cpu")
    for person_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        photo, *references = [path.read_bytes() for path in sorted(person_folder.iterdir())][:4]
        if count == 0:
            return
        if len(references) < 2:
            continue
        try:
            person = restorer.person(references)
            made = [restorer.restore(photo, person, RestoreOptions(always=True, seed=seed)) for seed in range(SEEDS)]
        except FacerefError:  # it is not sure that they show one person
            continue
        expected = [one.encode("JPEG")[0] for one in made]
        yield Customer(f"token-of-customer-{count}", f"person {count}", references, photo, expected)
        count -= 1
    assert count == 0, f"{folder} has too few people with three photographs"


if __name__ == "__main__":
    main()
