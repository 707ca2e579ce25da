import pytest
import torch
from torch.func import functional_call, vmap

from hetrl.errors import RecipeError
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.net.recurrent_policy import RecurrentPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.team import Agent, Box, Discrete, Team

STEERS, CHOOSES, CHOOSES_TWICE = Box((-1.0, 0.0), (1.0, 3.0)), Discrete((3,)), Discrete((3, 2))
EXACT = {"rtol": 0, "atol": 1e-12}


def policy(space, **arguments):
    agent = Agent("a", "agents", 0, 3, space, "agents")
    net = RecurrentPolicy(agent, Team((agent,), 3), **{"hidden": [5], "memory": 4, "chunk": 4, **arguments}).double()
    with torch.no_grad():  # a head that starts near 0 would hide what the memory does
        for parameter in net.head.parameters():
            parameter.normal_()
    return net


def collected(net, steps=8, envs=3, mask=None):
    """Return roles as acting writes them, and the hidden states that the actions were drawn from."""
    generator = torch.Generator().manual_seed(1)
    memory, rows, seen = torch.zeros(envs, 4, dtype=torch.float64), [], []
    is_init = torch.zeros(steps, envs, dtype=torch.bool)
    is_init[0], is_init[5, 1], is_init[6] = True, True, True
    for step in range(steps):
        memory = memory.masked_fill(is_init[step].unsqueeze(-1), 0.0)
        observation = torch.randn(envs, 3, dtype=torch.float64)
        after = net.remember(observation, memory)
        noise = net.noise((envs,), generator)
        action = net.draw(after, noise) if mask is None else net.draw(after, noise, mask)
        rows.append((observation, action, memory))
        memory = after
        seen.append(after)
    observation, action, memory = map(torch.stack, zip(*rows, strict=True))
    roles = {"observation": observation, "action": action.detach(), "memory": memory.detach(), "is_init": is_init}
    if mask is not None:
        roles["action_mask"] = mask.expand(steps, *mask.shape)
    return roles, torch.stack(seen)


@pytest.mark.parametrize(
    ("space", "arguments", "head"),
    [
        (STEERS, {}, GaussianPolicy),
        (STEERS, {"std": "state_dependent"}, GaussianPolicy),
        (STEERS, {"continuous": "squashed_gaussian"}, SquashedGaussianPolicy),
        (CHOOSES, {}, CategoricalPolicy),
        (CHOOSES_TWICE, {}, CategoricalPolicy),
    ],
    ids=["gaussian", "state_dependent", "squashed", "categorical", "several_choices"],
)
@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_log_probs_of_a_batch_are_those_of_acting(space, arguments, head, chunk):
    net = policy(space, chunk=chunk, **arguments)
    assert isinstance(net.head.policy, head)
    roles, seen = collected(net)
    acted = net.head.log_prob(seen, roles["action"])["log_prob"]
    torch.testing.assert_close(net.log_prob(**roles)["log_prob"], acted, **EXACT)


def test_masked_options_are_never_taken():
    net = policy(CHOOSES)
    mask = torch.tensor([[True, False, True]]).expand(3, -1)
    roles, seen = collected(net, mask=mask)
    assert (roles["action"] != 1).all()
    acted = net.head.log_prob(seen, roles["action"], roles["action_mask"])["log_prob"]
    torch.testing.assert_close(net.log_prob(**roles)["log_prob"], acted, **EXACT)
    alone = {word: value for word, value in roles.items() if word != "action_mask"}
    assert not torch.allclose(net.log_prob(**alone)["log_prob"], acted)
    one_hot = net.act(**{word: value for word, value in roles.items() if word != "action"})["proposal"]
    assert (one_hot[..., 1] == 0).all() and (one_hot.sum(-1) == 1).all()


@pytest.mark.parametrize("space", [STEERS, CHOOSES_TWICE], ids=["gaussian", "several_choices"])
def test_the_other_modes_see_the_same_hidden_states(space):
    net = policy(space)
    roles, seen = collected(net)
    del roles["action"]
    torch.testing.assert_close(net.act(**roles)["proposal"], net.head.act(seen)["proposal"])
    old = net.distribution(**roles)["distribution"]
    torch.testing.assert_close(old, net.head.distribution(seen)["distribution"], **EXACT)
    torch.testing.assert_close(
        net.kl(roles.pop("observation"), old, **roles)["kl"], torch.zeros(8, 3, dtype=torch.float64), **EXACT
    )


def test_an_agent_dimension_is_more_of_the_batch():
    net = policy(CHOOSES)
    roles, _ = collected(net)
    folded = {
        word: value.unflatten(1, (1, 3)).transpose(1, 2).expand(8, 3, 1, *value.shape[2:])
        for word, value in roles.items()
    }
    out = net.log_prob(**folded)["log_prob"]
    assert out.shape == (8, 3, 1)
    torch.testing.assert_close(out.squeeze(-1), net.log_prob(**roles)["log_prob"], **EXACT)


def test_a_stack_of_policies_is_one_batched_call():
    nets = [policy(CHOOSES) for _ in range(3)]
    weights = {name: torch.stack([dict(net.named_parameters())[name].detach() for net in nets])
               for name, _ in nets[0].named_parameters()}  # fmt: skip

    class Remember(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, seen, memory):
            return self.net.remember(seen, memory)

    seen, memory = torch.randn(3, 7, 3, dtype=torch.float64), torch.randn(3, 7, 4, dtype=torch.float64)
    wrapped = Remember(nets[0])
    call = vmap(lambda each, *given: functional_call(wrapped, {f"net.{k}": v for k, v in each.items()}, given))
    expected = torch.stack([net.remember(x, h) for net, x, h in zip(nets, seen, memory, strict=True)])
    torch.testing.assert_close(call(weights, seen, memory), expected, **EXACT)


def test_memory_is_needed_and_the_mask_is_not():
    table = RecurrentPolicy.modes["log_prob"]
    assert table.optional == {"action_mask"}
    assert (table.reads["memory"], table.reads["is_init"]) == ("agent.memory", "agent.is_init")


def test_says_its_chunk_before_and_after_it_is_built():
    assert RecurrentPolicy.chunk_of({}) == 16 and RecurrentPolicy.chunk_of({"chunk": 3}) == 3
    net = policy(CHOOSES, chunk=3)
    assert (net.chunk, net.memory) == (3, 4)
    assert CategoricalPolicy.chunk_of({}) is None and CategoricalPolicy.chunk is None and not CategoricalPolicy.memory


@pytest.mark.parametrize(
    ("values", "text"), [({"memory": 0}, "memory = 0"), ({"chunk": 0}, "chunk = 0"), ({"hidden": [0]}, r"hidden\[0\]")]
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=f"^RecurrentPolicy: {text}"):
        policy(CHOOSES, **values)
