"""The words of keys: one word for each quantity, with its shape, its unit and what it means.

What a loss writes under ``loss.`` or ``log.`` needs no word here: its component says what it is. The page *Keys* of the
documentation is made from this and from the key tables of all components.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from hetrl import keys

OLD = "old_"
"""How the last word of a key begins that is kept from before a turn, and is meant to be stale."""


class Word(NamedTuple):
    """What a key stands for; ``B`` is the batch, the other letters are explained on the page."""

    shape: str
    unit: str
    meaning: str

    def in_brackets(self) -> str:
        """Return the shape as a terminal shows it: ``[B, F]``, ``[B] or [B, K]``, ``[B], bool``."""
        sizes, kind = re.fullmatch(r"(.*?)(?:,? (bool|integers))?", self.shape).groups()  # type: ignore[union-attr]
        shapes = " or ".join(f"[{each.replace(' ', ', ')}]" for each in sizes.split(" or ") if each)
        return ", ".join(each for each in (shapes, kind) if each)


WORDS: dict[str, dict[str, Word]] = {
    "Written by collection": {
        "agent.observation": Word("B F", "", "what the agent saw; under `next.`, what the step led to"),
        "agent.action": Word("B A", "action", "what the agent did, sampled from its policy; integers where discrete"),
        "agent.reward": Word("B", "reward", "the agent's own reward, as the scenario gives it"),
        "reward": Word(
            "B", "reward", "the team's reward, made of the agents' (`task.reward`); absent with `per_agent`"
        ),
        "state": Word("B S", "", "the agents' observations side by side, in team order"),
        "terminated": Word("B bool", "", "the episode came to an end of its own: no value follows"),
        "truncated": Word("B bool", "", "the episode was cut at the horizon: a value follows"),
        "done": Word("B bool", "", "`terminated` or `truncated`"),
        "agent.terminated": Word(
            "B bool",
            "",
            "the agent died or left for good, or its episode is terminated; where nothing tells of agents' own ends, "
            "`terminated`",
        ),
        "agent.truncated": Word(
            "B bool", "", "the agent was cut off, or its episode; where nothing tells of agents' own ends, `truncated`"
        ),
        "discount": Word(
            "B", "1", "γᵏ: what a value that follows is worth; k steps are in `reward`. Only with [replay](data.md)"
        ),
    },
    "Written by collection where nets are recurrent": {
        "agent.memory": Word(
            "B H", "", "hidden state of the agent's policy before the step; 0 where an episode begins"
        ),
        "memory": Word(
            "B H",
            "",
            "hidden state of the team's value before the step, 0 where an episode begins; under `next.`, the next's",
        ),
        "is_init": Word(
            "B bool", "", "the step is the first of an episode; always so under `next.`, which stands alone"
        ),
        "agent.is_init": Word(
            "B bool",
            "",
            "the step is the first of a life of the agent; where nothing tells of agents' own ends, `is_init`",
        ),
    },
    "Written by nets": {
        "agent.log_prob": Word("B", "nat", "log π(action), summed over action dimensions"),
        "agent.entropy": Word("B", "nat", "entropy of the policy, summed over action dimensions"),
        "agent.rollout_log_prob": Word("B", "nat", "log π(action) before the sweep, of the policy that has acted"),
        "agent.rollout_entropy": Word("B", "nat", "entropy of the policy that has acted, before the sweep"),
        "agent.distribution": Word(
            "B P", "", "the policy's parameters for this observation: mean and log deviation, or logits"
        ),
        "agent.features": Word("B H", "1", "what an encoder makes of the observation"),
        "agent.kl": Word("B", "nat", "KL(old ‖ now) of the policy"),
        "agent.proposal": Word(
            "B A",
            "action",
            "an action drawn now from the current policy, or its deterministic one; one-hot where discrete",
        ),
        "agent.proposal_log_prob": Word("B", "nat", "log π(proposal)"),
        "agent.candidates": Word("B K A", "action", "K actions of the agent, such as all its options one-hot"),
        "agent.candidate_log_prob": Word("B K", "nat", "log π of each candidate"),
        "agent.candidate_prior": Word(
            "B K", "nat", "the log of what each candidate counts before Q does, where they are not drawn alike"
        ),
        "agent.candidate_q": Word(
            "B K", "reward", "the least action value of each candidate, with the others' proposals"
        ),
        "value": Word("B", "reward", "V(s)"),
        "agent.value": Word("B", "reward", "an agent's own value, of what it sees"),
        "normalized_value": Word("B", "normalised reward", "V(s) in the units in which the network predicts"),
        "agent.normalized_value": Word(
            "B", "normalised reward", "an agent's own value in the units in which its network predicts"
        ),
        "normalized_return": Word(
            "B", "normalised reward", "the return in the units in which the value's network predicts"
        ),
        "agent.normalized_return": Word(
            "B", "normalised reward", "an agent's own return in the units in which its network predicts"
        ),
        "agent.q": Word("E B", "reward", "Q(o, a) of an agent's own observation and action, of each of the E members"),
        "agent.min_q": Word("B", "reward", "the least Q(o, a) of the members"),
        "q": Word("E B", "reward", "Q(s, a) of each of the E members of an ensemble"),
        "min_q": Word("B", "reward", "the least Q(s, a) of the members"),
        "mean_q": Word("B", "reward", "the mean Q(s, a) of the members"),
        "first_q": Word("B", "reward", "Q(s, a) of the first member"),
        "normalized_q": Word("E B", "normalised reward", "Q(s, a) in the units in which the network predicts"),
        "normalized_min_q": Word("B", "normalised reward", "the least Q(s, a) of the members, in the network's units"),
        "normalized_target": Word("B", "normalised reward", "the target in the units in which the network predicts"),
        "agent.utility": Word("B options", "reward", "what each of the agent's options is worth to the team"),
        "agent.chosen_utility": Word(
            "B", "reward", "what the option that it took, or would take, is worth; summed over choices"
        ),
        "q_total": Word("B", "reward", "Q(s, a) made of the agents' chosen utilities"),
        "q_ood": Word("E B", "reward", "each member's value of `agents.marginal_action`"),
        "target_q_ood": Word("E B", "reward", "the slow copies' value of `agents.marginal_action`"),
        "agent.alpha": Word("B", "reward/nat", "temperature, the price of entropy, of an agent"),
        "alpha": Word("B", "reward/nat", "temperature of the joint policy"),
        "agent.log_alpha": Word("B", "1", "logarithm of an agent's temperature, which is what learns"),
        "log_alpha": Word("B", "1", "logarithm of the joint policy's temperature"),
        "agent.target_entropy": Word("B", "nat", "the entropy that an agent's temperature holds"),
        "target_entropy": Word(
            "B", "nat", "the entropy that the joint policy's temperature holds: the sum over the team"
        ),
        "agent.denoising_error": Word(
            "B M", "1", "squared error of the predicted noise in each chosen action, summed over dimensions"
        ),
        "agent.denoising_time": Word(
            "B M D integers", "1", "the steps at which chosen actions are denoised, where they are given; D draws each"
        ),
        "agent.denoising_noise": Word(
            "B M D A", "1", "the noises with which chosen actions are denoised, where they are given"
        ),
        "agent.uniform_error": Word("B U", "1", "the denoising error of U actions drawn uniformly within the bounds"),
        "agent.point": Word("B A", "1", "an action with noise in it, in halves of the range"),
        "agent.point_time": Word("B integers", "1", "the step up to which the point has been noised"),
        "agent.point_noise": Word(
            "B A", "1", "the noise that is in the point if weighted candidates are what it was made of"
        ),
        "agent.predicted_noise": Word("B A", "1", "what the network predicts of the noise in the point"),
        "agent.backward_error": Word(
            "B", "nat", "how unlikely a chain's step from the point to weighted candidates is"
        ),
        "agent.path": Word(
            "B S A",
            "1",
            "the points from which a chain of the policy steps towards an action, noise first, in halves of the range",
        ),
        "agent.path_std": Word("B S", "1", "each step's deviation"),
        "agent.path_place": Word("B S integers", "", "which steps of the chain these are, from 0 on"),
        "agent.path_mean": Word("B S A", "1", "the mean of each step of the chain"),
        "agent.path_error": Word("B S A", "1", "how far each step's mean has moved since the chain was drawn"),
    },
    "Written by estimates and weights": {
        "advantage": Word("B", "reward, then 1", "joint advantage; without a unit once standardised"),
        "agent.raw_advantage": Word("B", "reward", "an agent's own advantage, where each has a value of its own"),
        "agent.advantage": Word("B", "1", "an agent's own advantage, standardised"),
        "return": Word("B", "reward", "the value's target"),
        "agent.return": Word("B", "reward", "the target of an agent's own value"),
        "agent.soft_value": Word("B", "reward", "an agent's own action value with its entropy"),
        "agent.target": Word("B", "reward", "the target of an agent's own action value"),
        "target": Word("B", "reward", "the action value's target"),
        "agent.marginal_action": Word(
            "B A", "action", "what some agents did, completed by what the others would do now"
        ),
        "agent.marginal_q": Word(
            "B or B K", "reward", "the optimal marginal Q of the agent's proposal, or of each of its candidates"
        ),
        "joint_log_prob": Word("B", "nat", "the sum of the agents' log-probs"),
        "agent.chosen": Word("B M A", "action", "the candidates that are learned from"),
        "agent.chosen_log_prob": Word("B M", "nat", "log-probs of the chosen candidates, with gradient"),
        "agent.weight": Word(
            "B M", "reward, or 1", "what each chosen candidate counts, 0 or more; 1 where they are shares"
        ),
        "agent.clip_scale": Word("B", "1", "what share of the clip the agent's turn may use"),
        "factor": Word("B", "ratio", "product of the ratios of the agents already updated in this sweep"),
    },
    "Read where written": {
        "active": Word("B bool", "", "whether the sample counts"),
        "agent.active": Word(
            "B bool", "", "whether the sample counts for the agent: false where it has left its episode"
        ),
        "agent.action_mask": Word(
            "B options, bool", "", "which options may be chosen, those of several choices side by side"
        ),
        "agent.noise": Word(
            "B A", "1", "the random numbers of a draw, where they are given; `B S A` where one is made in S steps"
        ),
        "agent.candidate_noise": Word("B K A", "1", "the random numbers of candidates, where they are given"),
        "agent.path_noise": Word("B S A", "1", "the random numbers of a chain of all steps, where they are given"),
        "agent.kept": Word("B bool", "", "whose replayed action is part of the prefix, where it is given"),
        "agent.turn": Word(
            "B integers",
            "",
            "the round of the present sweep in which the agent is updated, from 0 on; phases with turns write it",
        ),
        "agent.place": Word(
            "", "", "a whole number, not a tensor: the agent's position in team order, which the program itself knows"
        ),
    },
    "Of orders": {
        "members": Word("n integers", "", "who takes turns: agents, or sharing groups"),
        "round": Word("n integers", "", "the round in which each of them is updated"),
    },
}


def base(key: str) -> str:
    """Return the key of which another is a form: of one agent, now, and not from before the turn.

    >>> base("next.agents.proposal_log_prob"), base("agent.old_log_prob"), base("old_normalized_value")
    ('agent.proposal_log_prob', 'agent.log_prob', 'normalized_value')
    """
    *places, word = (word for word in keys.single(key).split(".") if word != keys.NEXT)
    return ".".join([*places, word.removeprefix(OLD)])


def word_of(key: str) -> Word | None:
    """Return what a key stands for, whichever form of it this is; None where no word is explained."""
    return next((group[base(key)] for group in WORDS.values() if base(key) in group), None)


def plain(meaning: str) -> str:
    """Return a meaning without its links and marks, for a terminal.

    >>> plain("k steps are in `reward`. Only with [replay](data.md)")
    'k steps are in reward. Only with replay'
    """
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", meaning).replace("`", "")


def shape_of(key: str) -> str | None:
    """Return the dimensions of a key's value, as its word has them; None where it has no word or several shapes.

    >>> shape_of("next.agents.log_prob"), shape_of("terminated"), shape_of("q")
    ('B', 'B', 'E B')
    """
    word = word_of(key)
    if word is None or " or " in word.shape:
        return None
    return re.sub(r",? (bool|integers)$", "", word.shape)


def unexplained(used: Iterable[str]) -> list[str]:
    """Return the keys that are neither outputs nor forms of a word that is explained."""
    known = {key for group in WORDS.values() for key in group}
    return sorted({key for key in used if not keys.is_output(key) and base(key) not in known})
