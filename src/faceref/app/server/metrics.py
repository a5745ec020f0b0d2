"""What the queue tells Prometheus, read from its file whenever it asks: counts outlive the process."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from faceref.app.server.schema import State
from faceref.app.server.work import Work


class JobsCollector(Collector):
    """How many jobs wait and run, and were ever finished."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def collect(self) -> Iterator[Metric]:
        for state in (State.WAITING, State.RUNNING):
            yield GaugeMetricFamily(f"faceref_jobs_{state}", f"Jobs that are {state}.", value=self.work.count(state))
        finished = CounterMetricFamily("faceref_jobs_finished", "Jobs that are over, since ever.", labels=("state",))
        for state, jobs in ({State.DONE: 0, State.FAILED: 0} | self.work.finished()).items():
            finished.add_metric([state], jobs)
        yield finished
