"""Whether a server stays responsive while thousands of connections are opened and left, or send halves and slowly.

python benchmarks/server_connections.py --connections 10000
"""

import argparse
import os
import resource
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from threading import Event, Thread
from urllib.parse import urlsplit

from server_process import plain_client, served

LOOKS = 100  # at /healthz, a connection each
TOKEN = "token-of-the-slow-ones"
UPLOAD = (
    f"POST /v1/restore HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n--x\r\n"
)
WHAT = {
    "opened and left": "",
    "half a heading": "GET /healthz HTTP/1.1\r\nHost:",
    "half an upload": UPLOAD,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", help="small, refldm-512 or a model folder")
    parser.add_argument("--connections", type=int, default=10_000, help="opened by each kind of client")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # this side has as many sockets
    print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder, served(arguments.model, Path(folder), tokens=[TOKEN]) as server:
        look(server.address, "nobody else")
        for kind, said in WHAT.items():
            with abandoned(server.address, arguments.connections, said):
                look(server.address, f"{arguments.connections} connections, {kind}")
        with dripping(server.address):
            look(server.address, "50 clients that send a byte at a time")
        look(server.address, "nobody else any more")
        print(f"peak memory {server.peak_memory / 2**20:.0f} MiB")


def look(address: str, beside: str) -> None:
    """Print how long /healthz takes."""
    seconds = []
    for _ in range(LOOKS):
        began = time.monotonic()
        with plain_client(address) as http:  # a new connection each time
            assert http.get("/healthz").is_success
        seconds.append(time.monotonic() - began)
    p95 = quantiles(seconds, n=20)[-1]
    print(
        f"{beside}: /healthz p50 {1000 * median(seconds):.0f} ms, p95 {1000 * p95:.0f} ms, "
        f"at most {1000 * max(seconds):.0f} ms",
        flush=True,
    )


@contextmanager
def abandoned(address: str, count: int, said: str) -> Iterator[None]:
    """So many connections on which something is said, and then nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(connection(address)).sendall(said.encode())
        yield


@contextmanager
def dripping(address: str) -> Iterator[None]:
    """50 uploads that come a byte at a time."""
    ended = Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(connection(address)) for _ in range(50)]

        def drip() -> None:
            for i in range(len(UPLOAD)):
                for one in slow:
                    one.sendall(UPLOAD[i].encode())
                if ended.wait(0.05):
                    return

        thread = Thread(target=drip)
        thread.start()
        yield
        ended.set()
        thread.join()


def connection(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


if __name__ == "__main__":
    main()
