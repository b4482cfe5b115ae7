"""Runs that Ray's workers compute are those of one process: scores, errors, faults. On a cluster of two workers."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.gpt2 import shape
from documented import blocks
from recorded import BOTH, score

from hypotheses import induction, toy
from scrubbing import Engine, Graph, Hypothesis, NodeError, ScrubbingWarning, Store, donor, measure, reads, scrub, sweep
from scrubbing.engine.evaluate import Evaluator

ray = pytest.importorskip("ray", reason="needs scrubbing[ray]")

pytestmark = [
    pytest.mark.slow,  # a cluster starts in seconds on an idle machine
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # pipes of the processes that Ray starts
]
TWO = Engine(workers=2)


PROBE = """
import ray
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
assert ray.get(ray.remote(lambda: 1).remote(), timeout=60) == 1
"""


@pytest.fixture(scope="module", autouse=True)
def cluster():
    try:
        subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, timeout=180)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"Ray does not start on this machine: {error}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker
    yield
    ray.shutdown()
    torch.set_num_threads(threads)


@pytest.fixture
def in_small_chunks(monkeypatch):
    """Many pieces of work, of a run that would be one."""
    from scrubbing.experiments.cluster.workers import RayWorkers

    monkeypatch.setattr(RayWorkers, "chunk_size", lambda self, sample: 5)
    monkeypatch.setattr(Evaluator, "fitting", lambda self, one, share: 5)


def slow_run(**settings):
    """A run of many seconds, whose function is sent as it is: workers cannot import this module."""

    def slowly(x):
        import time

        time.sleep(0.2)
        return x

    G = Graph(a=slowly, loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    data = {"x": np.arange(100.0), "y": np.arange(100.0) * 1.5}
    return scrub(h, data, baseline=Graph(loss=reads("y")), check=False, **settings)


def test_what_the_page_shows_runs():
    page = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text(encoding="utf8")
    (code,) = blocks("py", page)
    namespace: dict = {}
    exec(code, namespace)
    assert namespace["scores"] == namespace["suite"].score()


@pytest.mark.parametrize(
    "settings",
    [{}, {"references": 70, "draws": 3, "seed": 5}, {"exact": True}, {"until": 0.1}, {"unclaimed": "mean"}],
    ids=str,
)
def test_the_toy_is_scored_as_in_one_process(in_small_chunks, settings):
    suite = toy.suite()
    here, there = (suite.score(engine=engine, **settings) for engine in (None, TWO))
    assert there == here
    for name, score_ in here.items():
        for path, rows in score_.donors.items():
            assert np.array_equal(there[name].donors[path], rows)


def test_the_ladder_is_scored_as_in_one_process():
    suite = induction.suite()
    here, there = (suite.score(references=24, engine=engine) for engine in (None, TWO))
    for name, one in here.items():
        for kind, losses in one.losses.items():
            assert np.allclose(
                there[name].losses[kind], losses, rtol=1e-6, atol=5e-6
            )  # units of a loss of 9 in 32 bits
        assert all(np.array_equal(there[name].donors[path], rows) for path, rows in one.donors.items())


def test_interventions_go_to_workers_too():
    case = induction.case("naive/Q")
    G = case.hypothesis.G.origin
    heads = {name: {name: donor(np.arange(40)[::-1])} for name in ("misc", "prev", "same", "ind", "other")}
    data = {name: column[:40] for name, column in case.data.items()}
    here, there = (measure(G, heads, data, references=[0, 3], engine=engine) for engine in (None, TWO))
    assert all(
        np.allclose(there[n].losses["scrubbed"], here[n].losses["scrubbed"], rtol=1e-6, atol=1e-6) for n in heads
    )


def test_a_sweep_of_144_heads_is_that_of_one_process():
    network = shape(rows=8, positions=12, n_embd=48, vocab_size=100)
    axes = {"layer": range(12), "head": range(12)}

    def one(layer, head):
        return {f"a{layer}_h{head}": donor(network.donors)}

    here, there = (sweep(network.graph, axes, one, network.data, engine=engine) for engine in (None, TWO))
    assert len(here.scores) == 144
    for head, expected in here.scores.items():
        found = there.scores[head]
        assert np.allclose(found.losses["scrubbed"], expected.losses["scrubbed"], rtol=1e-6, atol=1e-6)
        assert all(np.array_equal(found.donors[path], rows) for path, rows in expected.donors.items())
    assert here.frame["change"].abs().min() > 0


def test_functions_that_only_this_process_knows_are_sent():
    secret = 3
    G = Graph(a=lambda x: secret * x, loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    data = {"x": [0, 1, 2, 3], "y": [0, 3, 6, 9]}
    here, there = (scrub(h, data, baseline=Graph(loss=reads("y")), engine=engine) for engine in (None, TWO))
    assert there == here


def test_an_error_of_a_function_is_its_own(in_small_chunks):
    def breaks(x):
        if len(x) > 4 and (x == 7).any():  # not the few rows that functions are tried on
            raise ValueError("no sevens")
        return x

    G = Graph(a=breaks, loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=reads("x"), loss=reads("a", "y")))
    data = {"x": np.arange(40), "y": np.arange(40)}
    with pytest.raises(NodeError, match="the function of 'a' raised ValueError: no sevens") as caught:
        scrub(h, data, baseline=Graph(loss=reads("y")), check=False, engine=TWO)
    assert caught.value.__cause__ is None or "ray" not in type(caught.value.__cause__).__module__
    assert score(BOTH, engine=TWO) == score(BOTH)  # and the cluster goes on


def workers() -> list[int]:
    """The processes of Ray's workers that are at work."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::scrubbing"):
                found.append(int(entry.name))
    return found


KILLS = int(os.environ.get("SCRUBBING_KILLS", "8"))  # each costs a worker's start


def test_workers_may_be_killed_at_any_moment(in_small_chunks):
    here = slow_run()
    killed, over = [0], threading.Event()
    dice = random.Random(0)

    def killer():
        while not over.wait(dice.uniform(1, 6)) and killed[0] < KILLS:
            for pid in workers()[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed[0] += 1

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        deadline = time.monotonic() + 60 + 20 * KILLS
        while killed[0] < KILLS and time.monotonic() < deadline:
            assert slow_run(engine=TWO) == here
    finally:
        over.set()
        thread.join()
    if not killed[0]:
        pytest.skip("this system does not show what its processes are called, so that none could be killed")
    assert killed[0] == KILLS


DRIVER = """
import sys, torch
torch.set_num_threads(1)
sys.path[:0] = sys.argv[2:]
from documented import blocks
from recorded import BOTH, score
from scrubbing import Engine
from scrubbing.experiments.cluster.workers import RayWorkers
RayWorkers.chunk_size = lambda self, sample: 5
score(BOTH, draws=40, store=sys.argv[1], engine=Engine(workers=2))
"""


def test_a_driver_that_is_killed_goes_on_from_what_it_kept(tmp_path):
    here = score(BOTH, draws=40)
    store = tmp_path / "store.db"
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", DRIVER, str(store), str(root), str(root / "tests")]
    dice = random.Random(1)
    for _ in range(max(3, KILLS // 5)):
        with subprocess.Popen(command, start_new_session=True) as driver:
            time.sleep(dice.uniform(3, 20))
            os.killpg(driver.pid, signal.SIGKILL)
    assert subprocess.run(command, check=False).returncode == 0
    assert np.allclose(Store(store).score(1).losses["scrubbed"], here["or"].losses["scrubbed"], rtol=1e-12)


def test_a_worker_without_memory_takes_fewer_draws_at_a_time(in_small_chunks):
    here = os.getpid()

    def hungry(x):
        if len(x) > 4 and os.getpid() != here:
            raise torch.OutOfMemoryError("CUDA out of memory")  # as on a GPU
        return x

    G = Graph(a=hungry, loss=lambda a, y: (a - y) ** 2)
    h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
    data = {"x": np.arange(40.0), "y": np.arange(40.0) * 1.5}
    asked = dict(data=data, baseline=Graph(loss=reads("y")), check=False)
    with pytest.warns(ScrubbingWarning, match="out of memory; going on with 2 draws at a time"):
        assert scrub(h, engine=TWO, **asked) == scrub(h, **asked)


KILLED_FOR_MEMORY = """
import sys
from pathlib import Path
import numpy as np
from scrubbing import Engine, Graph, Hypothesis, reads, scrub

flag = Path(sys.argv[1])

def hungry(x):
    import time
    if not flag.exists() and len(x) > 4:  # not in this process, which tries four rows
        flag.touch()
        eaten = []
        for _ in range(400):
            eaten.append(bytearray(b"1" * 2**24))
            time.sleep(0.02)
    return x

G = Graph(a=hungry, loss=lambda a, y: (a - y) ** 2)
h = Hypothesis(G, Graph(a=lambda x: x % 2, loss=reads("a", "y")))
data = {"x": np.arange(200.0), "y": np.arange(200.0) * 1.5}
asked = dict(data=data, baseline=Graph(loss=reads("y")), check=False)
there = scrub(h, engine=Engine(workers=1), **asked)
assert flag.exists()
assert scrub(h, **asked) == there
"""


def test_a_worker_that_is_killed_for_its_memory_is_replaced(tmp_path):
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf8").splitlines())
    total, free = (int(memory[name].split()[0]) * 2**10 for name in ("MemTotal", "MemAvailable"))
    if free < 10 * 2**30:
        pytest.skip("needs 10 GiB of free memory")
    threshold = (total - free + 4 * 2**30) / total  # what is taken, and 4 GiB: the worker would have 6.25
    env = os.environ | {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "50"}
    command = [sys.executable, "-c", KILLED_FOR_MEMORY, str(tmp_path / "flag")]
    subprocess.run(command, check=True, env=env, timeout=300)


def test_ctrl_c_leaves_no_task_behind(in_small_chunks):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slow_run(engine=TWO, progress=interrupt)
    deadline = time.monotonic() + 60
    while workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers() == []


def test_a_machine_may_leave_in_the_middle(in_small_chunks):
    from ray.cluster_utils import Cluster

    ray.shutdown()
    here = slow_run()
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        leaving = machines.add_node(num_cpus=1)
        machines.wait_for_nodes()
        gone = []

        def remove(done, total):
            if not gone:
                gone.append(done)
                machines.remove_node(leaving)

        there = slow_run(engine=Engine(address=machines.address, workers=2), progress=remove)
        assert gone
        assert there == here
    finally:
        ray.shutdown()
        machines.shutdown()
