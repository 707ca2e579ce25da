"""What is recorded as a CUDA graph does what it stands for; run with ``pytest -m gpu`` where there is a GPU."""

import warnings

import pytest
import torch

import hetrl
from hetrl import graph, rng
from hetrl.engine.store import Store
from hetrl.env.vmas import Vmas

pytestmark = pytest.mark.gpu

TINY = ["task.n_envs=16", "task.horizon=10", "run.device=cuda", "run.eval_every=null"]
SIZES = {"happo": ["data.frames=160"], "hasac": ["data.warmup=160", "data.batch=64", "data.capacity=640"]}


def test_random_numbers_are_those_of_a_call():
    device, states = torch.device("cuda", 0), []
    for number in range(2):
        generator = torch.Generator(device).manual_seed(3)
        torch.cuda.manual_seed(5)

        def draw(given, generator=generator):
            return [given[0] + torch.randn(4, device=device, generator=generator) + torch.rand(4, device=device)]

        run = graph.Played(draw, list, "drawing", [generator]) if number else draw
        drawn = [run([torch.zeros(4, device=device)])[0].clone() for _ in range(4)]
        states.append([*drawn, generator.get_state(), torch.cuda.get_rng_state(device)])
    assert all(map(torch.equal, *states)) and not torch.equal(states[0][0], states[0][1])


@pytest.mark.parametrize("name", SIZES)
def test_collections_and_updates_are_those_without_graphs(name):
    ends = []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="run.graphs.*")
        for word in ("false", "auto"):
            rng.seed(0)
            module, data = hetrl.load(name, *TINY, *SIZES[name], f"run.graphs={word}").build()
            generator = torch.Generator("cuda").manual_seed(0)
            for _ in range(3):
                for sample in data.source.collect().samples:
                    store = Store(module.linked.team, sample)
                    for phase in module.phases:
                        phase.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
            ends.append([parameter.detach().clone() for parameter in module.parameters()])
    for plain, played in zip(*ends, strict=True):
        torch.testing.assert_close(played, plain, rtol=1e-3, atol=1e-4)


def test_a_captured_step_waits_for_nothing():
    env = Vmas(scenario="simple", n_envs=16, horizon=10, seed=1, device="cuda", capture=True, broad_phase="none")
    env.start()
    still = {"agents": torch.zeros(16, 1, 2, device="cuda")}
    for _ in range(12):  # the first reset makes what it needs
        env.advance(still)
    assert env.trust()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            env.advance(still)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert env.held()
