"""What is done on several cores at once: in order, no further ahead than there are threads, errors and all."""

import threading

import pytest

from faceref.threads import in_threads


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("3", 3), ("3,2", 3), ("100", 7)])
def test_as_many_threads_as_omp_num_threads_says_work_at_once_and_in_order(monkeypatch, said, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    barrier, at_work = threading.Barrier(threads), set()

    def work(number: int) -> int:
        at_work.add(threading.get_ident())
        if number < threads:
            barrier.wait(30)  # passed only if so many are at work together
        return -number

    assert list(in_threads(work, range(7))) == [-number for number in range(7)]
    assert len(at_work) <= threads


def test_nothing_is_done_far_ahead_of_who_takes_it(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    begun: list[int] = []
    results = in_threads(lambda number: begun.append(number) or number, range(10))
    assert next(results) == 0
    assert len(begun) <= 2


def test_an_error_is_raised_where_its_result_would_be(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    results = in_threads(lambda number: 1 / (number - 1), range(4))
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)
