import pytest
import torch

from hetrl.net.recurrent_value import RecurrentValue
from hetrl.net.state_value import StateValue
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 3, Box((-1.0,), (1.0,)), "agents")
TEAM = Team((AGENT,), state_size=2)
EXACT = {"rtol": 0, "atol": 1e-12}


def value(**arguments):
    return RecurrentValue(AGENT, TEAM, **{"hidden": [5], "memory": 4, "chunk": 3, **arguments}).double()


def roles(steps=6, envs=2):
    is_init = torch.zeros(steps, envs, dtype=torch.bool)
    is_init[0] = True
    return {
        "state": torch.randn(steps, envs, 2, dtype=torch.float64),
        "memory": torch.zeros(steps, envs, 4, dtype=torch.float64),
        "is_init": is_init,
    }


def test_value_by_hand():
    """Without weights the update gate is 1/2 and n is 0: the memory halves each step, 1, 1/2, 1/4; V is 8 h + 1."""
    net = value(hidden=[], memory=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.head.body[0].weight.fill_(8.0)
        net.head.body[0].bias.fill_(1.0)
    given = roles(3, 1) | {"memory": torch.ones(3, 1, 1, dtype=torch.float64)}
    assert net.value(**given)["value"].flatten().tolist() == [5.0, 3.0, 2.0]
    assert net.normalized(**given)["normalized_value"].flatten().tolist() == [5.0, 3.0, 2.0]
    alone = given | {"is_init": torch.ones(3, 1, dtype=torch.bool)}
    assert net.value(**alone)["value"].flatten().tolist() == [5.0, 5.0, 5.0]


def test_unrolled_is_what_stepping_gave():
    net, given = value(), roles()
    memory, before, after = given["memory"][0], [], []
    for state in given["state"]:
        before.append(memory)
        memory = net.remember(state, memory)
        after.append(memory)
    given["memory"] = torch.stack(before)
    expected = net.head.value(torch.stack(after))["value"]
    torch.testing.assert_close(net.value(**given)["value"], expected, **EXACT)


def test_normalises_as_the_value_without_memory():
    """Returns 1 and 5 have mean 3 and deviation 2."""
    net, given = value(normalize=True), roles()
    normalized = net.normalize(torch.tensor([1.0, 5.0], dtype=torch.float64))["normalized_return"]
    torch.testing.assert_close(normalized, torch.tensor([-1.0, 1.0], dtype=torch.float64))
    own = net.normalized(**given)["normalized_value"]
    torch.testing.assert_close(net.value(**given)["value"], own * 2 + 3)
    torch.testing.assert_close(net.denormalize(own)["value"], own * 2 + 3)
    assert [name for name, _ in net.named_buffers()] == [f"head.normalizer.{name}" for name in ("m1", "m2", "d")]


def test_has_the_modes_of_the_value_without_memory():
    assert (RecurrentValue.default_per, RecurrentValue.default_mode) == ("team", "value")
    assert set(RecurrentValue.modes) == set(StateValue.modes)
    for name, table in RecurrentValue.modes.items():
        assert dict(table.writes) == dict(StateValue.modes[name].writes)
        assert table.learned == StateValue.modes[name].learned
        assert not table.optional
    assert RecurrentValue.chunk_of({"chunk": 7}) == 7 and RecurrentValue.chunk_of({}) == value(chunk=16).chunk


@pytest.mark.parametrize("chunk", [1, 2, 6])
def test_a_chunk_starts_from_its_stored_memory(chunk):
    net, given = value(chunk=chunk), roles()
    given["memory"] = torch.randn_like(given["memory"])
    out = net.value(**given)["value"]
    for start in range(0, 6, chunk):
        first = net.head.value(net.remember(given["state"][start], given["memory"][start]))["value"]
        torch.testing.assert_close(out[start], first, **EXACT)
