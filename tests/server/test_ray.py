"""`faceref serve --ray`: the server's bytes, from two replicas of a local Ray; one that dies costs nothing but time."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest
from fastapi.testclient import TestClient
from PIL import ImageOps
from serving import FULLY, png, until
from typer.testing import CliRunner

from faceref import Restorer
from faceref.app.cli.main import app
from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits
from faceref.app.server.ray_engine import ray_engines
from faceref.app.server.schema import State
from faceref.client import Client, ServerError
from faceref.cluster import check_ray
from faceref.compute import Compute
from faceref.errors import UsageError
from faceref.restore.request import load_restorer

LONG = FULLY.model_copy(update={"steps": 1000})  # minutes
SETTINGS = "num_replicas: 2\nray_actor_options: {num_cpus: 0.5}\n"


def test_without_ray_it_says_what_to_install(monkeypatch, tiny_model):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = CliRunner().invoke(app, ["serve", "--ray", "--model", str(tiny_model)])
    assert (done.exit_code, done.stderr) == (
        2,
        "Ray is not installed; pip install 'faceref[ray]', or leave --ray out.\n",
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--ray-config", "x.yaml"], "--ray-config is for --ray"), (["--ray", "--device", "cpu,cpu"], "each replica its")],
)
def test_options_that_contradict_each_other_are_refused(options, says):
    done = CliRunner().invoke(app, ["serve", *options])
    assert done.exit_code == 2
    assert says in done.stderr


@pytest.fixture(scope="module")
def ray() -> None:
    """A local Ray that takes little of the machine."""
    try:
        check_ray("serve")
    except UsageError:
        pytest.skip("Ray is not installed: pip install 'faceref[ray]' to run this test.")
    import ray  # type: ignore[import-not-found]

    if not ray.is_initialized():  # it ends with this process
        little = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        ray.init(address="local", log_to_driver=False, **little)


@pytest.fixture(scope="module")
def restorer(tiny_model) -> Restorer:
    return load_restorer(str(tiny_model), Compute("cpu"))


@pytest.fixture(scope="module")
def engines(ray, tiny_model, tmp_path_factory):
    settings = tmp_path_factory.mktemp("ray") / "replicas.yaml"
    settings.write_text(SETTINGS)
    with ray_engines(str(tiny_model), Compute("cpu"), settings) as engines:
        yield engines


@pytest.fixture
def serve(engines, restorer, tmp_path) -> Iterator[Callable[..., TestClient]]:
    """`serve(name=limit...)`: a running server whose jobs are done by the replicas."""
    with ExitStack() as stack:

        def started(**limits: float) -> TestClient:
            app = create_app(restorer, (), tmp_path / "kept", Limits.model_validate(limits), engines)
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield started


def runs(client: Client, *ids: str) -> bool:
    """Whether all these jobs have come to a step."""
    return all(client.job(id).steps_done > 0 for id in ids)


def replicas() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if "ServeReplica" in one.name()]


@pytest.mark.slow
def test_four_clients_at_once_get_the_bytes_that_python_gives(serve, restorer, portrait, photo, reference):
    client = Client(http=serve())
    client.enroll("Eileen", [reference])
    other = png(ImageOps.mirror(portrait.rotate(4)))
    expected = [
        restorer.restore(*pictures, FULLY).encode("PNG")[0] for pictures in ((photo, reference), (other, photo))
    ]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(4) as threads:
        by_name = [threads.submit(client.restore, photo, people=["Eileen"], options=FULLY) for _ in range(2)]
        by_pictures = [threads.submit(client.restore, other, [photo], options=FULLY) for _ in range(2)]
    assert [one.result().data for one in by_name + by_pictures] == [expected[0]] * 2 + [expected[1]] * 2
    assert by_name[0].result().account.faces[0].person == "Eileen"


@pytest.mark.slow
def test_two_jobs_run_at_once_and_end_when_they_are_cancelled(serve, photo, wall):
    client = Client(http=serve())
    jobs = [client.submit(photo, options=LONG) for _ in range(3)]
    until(lambda: runs(client, jobs[0].id, jobs[1].id))
    assert client.job(jobs[0].id).steps == LONG.steps
    assert client.job(jobs[2].id).state == State.WAITING
    client.cancel(jobs[0].id)
    until(lambda: runs(client, jobs[2].id))
    for job in jobs[1:]:
        client.cancel(job.id)
    with pytest.raises(ServerError, match="No face was found in the picture"):
        client.restore(wall)


@pytest.mark.slow
def test_a_restoration_that_takes_too_long_is_ended(serve, photo):
    client = Client(http=serve(seconds=0.1))
    with pytest.raises(ServerError, match=r"took longer than 0.1 seconds"):
        client.restore(photo, options=LONG)


@pytest.mark.slow
def test_a_replica_that_dies_costs_nothing_but_time(serve, restorer, photo, reference):
    client = Client(http=(http := serve()))
    options = FULLY.model_copy(update={"steps": 100})
    jobs = [client.submit(photo, [reference], options=options) for _ in range(3)]
    until(lambda: runs(client, jobs[0].id, jobs[1].id))
    for process in replicas():
        process.kill()
    until(lambda: all(client.job(job.id).is_over for job in jobs), 240)
    expected = restorer.restore(photo, reference, options).encode("PNG")[0]
    assert {client.result(job.id)[0] for job in jobs} == {expected}
    assert http.get("/readyz").status_code == 200


@pytest.mark.slow
def test_a_server_that_is_stopped_goes_on_with_the_replicas(engines, restorer, serve, photo, tmp_path):
    with TestClient(create_app(restorer, (), tmp_path / "kept", engines=engines), base_url="http://127.0.0.1") as http:
        job = Client(http=http).submit(photo, options=FULLY.model_copy(update={"steps": 200}))
        until(lambda: runs(Client(http=http), job.id))
    client = Client(http=serve())
    assert list(client.follow(job.id))[-1].state == State.DONE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("num_replica: 2", "num_replica"),
        ("num_replicas: many", "is not as Ray Serve needs it"),
        ("autoscaling_config: {max_replicas: 0}", "max_replicas"),
        ("- 1", "holds no settings"),
        ("{", "cannot be read"),
    ],
)
def test_settings_that_ray_serve_does_not_know_are_named(ray, tiny_model, tmp_path, settings, says):
    (file := tmp_path / "replicas.yaml").write_text(settings)
    with pytest.raises(UsageError) as error, ray_engines("x", Compute(), file):
        pass
    assert error.value.subject == str(file)
    assert says in error.value.reason


@pytest.mark.slow
def test_as_many_jobs_are_given_out_as_the_replicas_may_become(ray, tiny_model, tmp_path):
    settings = "name: small\nray_actor_options: {num_cpus: 0}\nautoscaling_config: {min_replicas: 1, max_replicas: 3}\n"
    (tmp_path / "replicas.yaml").write_text(settings)
    with ray_engines(str(tiny_model), Compute("cpu"), tmp_path / "replicas.yaml") as engines:
        assert len(engines) == 3
