"""`faceref serve` in a process of its own, for benchmarks and tests: started, watched, and ended with kill -9."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import psutil

PATIENCE = 1800  # seconds that loading the model may take on a busy machine


@dataclass(frozen=True)
class Served:
    """A running server."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def peak_memory(self) -> int:
        """Bytes, the largest so far (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

    @property
    def memory(self) -> int:
        """Bytes that are in use now."""
        return psutil.Process(self.process.pid).memory_info().rss

    def kill(self) -> None:
        """As a power cut does: nothing is said to the server."""
        self.process.kill()
        self.process.wait()


@contextmanager
def served(
    model: str | Path, data_dir: Path, *options: str, tokens: Sequence[str] = (), log: Path | None = None
) -> Iterator[Served]:
    """A server that answers, on a free port; killed at the end. log: where its log goes, by default nowhere."""
    port = free_port()
    command = [sys.executable, "-m", "faceref", "serve", "--port", str(port), "--model", str(model)]
    environment = os.environ | ({"FACEREF_TOKEN": " ".join(tokens)} if tokens else {})
    with (log or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), *options], stderr=errors, stdout=errors, env=environment
        )
    server = Served(f"http://127.0.0.1:{port}", process)
    try:
        wait_until_ready(server)
        yield server
    finally:
        server.kill()


def wait_until_ready(server: Served) -> None:
    """Raises RuntimeError if it ends, or does not answer in time."""
    end = time.monotonic() + PATIENCE
    with plain_client(server.address) as http:
        while time.monotonic() < end and server.process.poll() is None:
            try:
                if http.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
    raise RuntimeError(f"the server did not start (exit status {server.process.poll()})")


def plain_client(address: str) -> httpx.Client:
    """Patient, and without the certificates that take more time to load than a request: nothing here is encrypted."""
    return httpx.Client(base_url=address, verify=False, timeout=600)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
