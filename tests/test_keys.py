import pytest

from hetrl import keys
from hetrl.errors import RecipeError


def test_words():
    assert keys.parse("next.agent.old_log_prob2") == ("next", "agent", "old_log_prob2")
    assert keys.parse("state") == ("state",)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a-b", "2a", "a.2", "a/b", None, 3, ["a"], "é", "a\n"]
)
def test_refuses_what_is_no_key(text):
    with pytest.raises(RecipeError, match="is not a key; write words joined by dots"):
        keys.parse(text)


@pytest.mark.parametrize(
    ("key", "scope", "without", "named"),
    [
        ("state", "", "state", "state"),
        ("agent.log_prob", "agent", "log_prob", "a0.log_prob"),
        ("agents.log_prob", "agents", "log_prob", "a0.log_prob"),
        ("next.agent.observation", "agent", "next.observation", "next.a0.observation"),
        ("loss.agent.surrogate", "agent", "loss.surrogate", "loss.a0.surrogate"),
        ("agent_count", "", "agent_count", "agent_count"),
        ("log.agents_seen", "", "log.agents_seen", "log.agents_seen"),
    ],
)
def test_placeholders(key, scope, without, named):
    assert (keys.scope(key), keys.without_agent(key), keys.of_agent(key, "a0")) == (scope, without, named)


@pytest.mark.parametrize(
    ("key", "at", "expected"),
    [
        ("state", "next", "next.state"),
        ("agent.observation", "next", "next.agent.observation"),
        ("next.state", "next", "next.state"),
        ("nextstate", "next", "next.nextstate"),
        ("state", None, "state"),
        ("loss.value", "next", "loss.value"),
        ("log.clipped", "next", "log.clipped"),
    ],
)
def test_shifting(key, at, expected):
    assert keys.shifted(key, at) == expected


@pytest.mark.parametrize(
    ("key", "output"),
    [("loss.value", True), ("log.agent.clipped", True), ("loss", True), ("losses.x", False), ("log_prob", False),
     ("agent.loss", False), ("logits.x", False)],
)  # fmt: skip
def test_outputs(key, output):
    assert keys.is_output(key) is output
