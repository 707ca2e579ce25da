"""Random states survive a checkpoint, and private streams disturb nobody."""

import io
import random

import numpy as np
import pytest
import torch

from hetrl import rng


def draws():
    return (
        torch.rand(3).tolist(),
        torch.randn(1).item(),
        np.random.rand(3).tolist(),
        np.random.randn(),
        random.random(),
        random.gauss(0, 1),
    )


def saved(state):
    """Return a state as a checkpoint gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_captured_states_are_put_back_through_a_checkpoint():
    draws()  # an odd number of normal draws leaves one of each pair kept for the next
    state = saved(rng.capture())
    expected = draws()
    assert draws() != expected
    rng.restore(state)
    assert draws() == expected


def test_capturing_changes_nothing():
    state = rng.capture()
    first = draws()
    rng.restore(state)
    rng.capture()
    assert draws() == first


def test_a_stream_is_what_its_seed_says():
    def through(stream):
        with stream:
            return draws()

    assert through(rng.Stream(3)) == through(rng.Stream(3)) != through(rng.Stream(4))
    stream = rng.Stream(3)
    first, second = through(stream), through(stream)
    assert first != second
    stream.seed(3)
    assert (through(stream), through(stream)) == (first, second)
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    assert draws() == first


def test_a_stream_leaves_the_outside_alone():
    state = rng.capture()
    expected = draws()
    rng.restore(state)
    stream = rng.Stream(5)
    with stream:
        draws()
    stream.state_dict()
    stream.load_state_dict(rng.Stream(6).state_dict())
    assert draws() == expected


def test_two_streams_do_not_disturb_each_other():
    def interleaved(other):
        stream, found = rng.Stream(1), []
        for _ in range(3):
            with stream:
                found.append(draws())
            with other:
                draws()
            draws()
        return found

    assert interleaved(rng.Stream(2)) == interleaved(rng.Stream(3))


def test_a_stream_survives_an_error_inside():
    stream = rng.Stream(1)
    state = rng.capture()
    with pytest.raises(ZeroDivisionError), stream:
        draws()
        raise ZeroDivisionError
    following = draws()
    rng.restore(state)
    assert draws() == following
    with stream:
        continued = draws()
    again = rng.Stream(1)
    with again:
        assert draws() != continued
        assert draws() == continued


def test_a_stream_continues_from_its_state():
    stream = rng.Stream(1)
    with stream:
        draws()
    state = saved(stream.state_dict())
    with stream:
        expected = draws()
    other = rng.Stream(2)
    other.load_state_dict(state)
    with other:
        assert draws() == expected


def test_derived_seeds():
    """Different for each purpose and seed, the same ever after, and in the range of a 32-bit signed number."""
    paths = [(), ("env",), ("evaluation",), ("order", "actors"), ("order", "critic"), ("orderactors",)]
    found = {rng.derive(seed, *path) for seed in range(50) for path in paths}
    assert len(found) == 300
    assert all(0 <= seed < 2**31 for seed in found)
    assert rng.derive(7, "env") == rng.derive(7, "env")
    assert isinstance(rng.derive(0, "env"), int)


def test_streams_in_turns_are_what_each_is_alone_and_disturb_nobody():
    draws()  # leaves a normal of a pair behind
    outside = rng.capture()
    before = draws()
    rng.restore(outside)

    def turns(*seeds):
        streams, found = [rng.Interleaved() for _ in seeds], {number: [] for number in seeds}
        with rng.kept():
            for step in range(3):
                for number, stream in zip(seeds, streams, strict=True):
                    stream.resume() if step else stream.begin(number)
                    found[number].append(draws())
                    stream.pause()
        return found

    together = turns(1, 2)
    assert together[1] == turns(1)[1] and together[2] == turns(2)[2] and together[1] != together[2]
    assert len({str(each) for each in together[1]}) == 3
    assert draws() == before


@pytest.mark.parametrize("drawn", [0, 1, 3, 622, 623, 624, 625, 1248])
@pytest.mark.parametrize("quiet", [0, 1, 2])
def test_a_stream_in_turns_goes_on_where_python_was_however_many_words_were_drawn(quiet, drawn):
    """The words come 624 at a time; turns that draw none, before, between or after, change nothing."""
    alone = random.Random(5)
    expected = [alone.getrandbits(32) for _ in range(2 * drawn + 3)] + [alone.gauss(0, 1) for _ in range(3)]
    stream, other, found = rng.Interleaved(), rng.Interleaved(), []

    def turn(draw, count):
        for each in (other, stream):
            each.resume()
            found.extend(draw() for _ in range(count) if each is stream)
            each.pause()

    with rng.kept():
        for each, number in ((other, 6), (stream, 5)):
            each.begin(number)
            each.pause()
        for count in (*[0] * quiet, drawn, *[0] * quiet, drawn, 3):
            turn(lambda: random.getrandbits(32), count)
        for _ in range(3):
            turn(lambda: random.gauss(0, 1), 1)
    assert found == expected


def test_a_normal_in_store_belongs_to_its_stream():
    """Python draws normals in pairs: the second costs no word."""
    alone = random.Random(5)
    expected = [alone.gauss(0, 1) for _ in range(4)]
    stream, found = rng.Interleaved(), []
    with rng.kept():
        stream.begin(5)
        for _ in range(4):
            found.append(random.gauss(0, 1))
            stream.pause()
            stream.resume()
    assert found == expected


def test_reading_pythons_state_is_left_out_where_it_was_not_used(monkeypatch):
    """It costs ten times what the rest of a turn does."""
    quiet, user = rng.Interleaved(), rng.Interleaved()
    with rng.kept():
        for stream in (quiet, user):
            stream.begin(1)
            stream.pause()
        read, calls = random.getstate, []
        monkeypatch.setattr(random, "getstate", lambda: calls.append(1) or read())
        for turn in range(3):
            quiet.resume()
            np.random.rand(), torch.rand(1)
            quiet.pause()
            assert len(calls) == turn
            user.resume()
            random.random()
            user.pause()
            assert len(calls) == turn + 1
        monkeypatch.undo()
