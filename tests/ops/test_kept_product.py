"""A product that is kept while the parts of its input change one by one."""

import torch

from hetrl.ops import kept_product
from hetrl.ops.kept_product import KeptProduct

SIZES = (3, 2, 1, 4)


def make():
    parts = [torch.randn(6, size).double() for size in SIZES]
    return parts, torch.randn(2, sum(SIZES), 5).double(), torch.randn(2, 1, 5).double()


def whole(parts, weight, bias):
    return torch.cat(parts, -1) @ weight + bias


def keeping():
    first = KeptProduct()
    first.keep(True)
    return first


def counted(monkeypatch):
    """Count the products with the whole input."""
    calls, product = [], kept_product._product
    monkeypatch.setattr(kept_product, "_product", lambda *given: calls.append(1) or product(*given))
    return calls


def test_a_change_of_one_part_costs_its_own_columns(monkeypatch):
    """A sweep: in every turn the live part is another, and the part of the turn before has changed."""
    calls = counted(monkeypatch)
    parts, weight, bias = make()
    first = keeping()
    for turn in (1, 2, 3):
        fresh = [*parts[:turn], torch.randn_like(parts[turn]), *parts[turn + 1 :]]
        found, given = first(fresh, weight, bias, turn)
        torch.testing.assert_close(found, whole([*fresh[:turn], given, *fresh[turn + 1 :]], weight, bias))
        parts[turn] = torch.randn_like(parts[turn])  # what later turns see
    assert len(calls) == 1


def test_a_view_of_the_same_memory_is_the_same_part(monkeypatch):
    calls = counted(monkeypatch)
    parts, weight, bias = make()
    first = keeping()
    for _ in range(3):
        first([part.view(6, -1) for part in parts], weight, bias, 1)
    assert len(calls) == 1


def test_nothing_is_kept_from_what_has_been_written_to(monkeypatch):
    """In place: a part, and the part that was live."""
    calls = counted(monkeypatch)
    parts, weight, bias = make()
    first = keeping()
    first(parts, weight, bias, 1)
    for number, written in enumerate((parts[0], parts[1]), 2):
        written.add_(1)
        found, given = first(parts, weight, bias, 1)
        torch.testing.assert_close(found, whole([parts[0], given, *parts[2:]], weight, bias))
        assert len(calls) == number


def test_another_input_is_another_product(monkeypatch):
    """Most of its columns are others, or its rows are."""
    calls = counted(monkeypatch)
    parts, weight, bias = make()
    first = keeping()
    first(parts, weight, bias, 1)
    first([part.clone() for part in parts], weight, bias, 1)
    found, _ = first([part[:3] for part in parts], weight, bias, 1)
    torch.testing.assert_close(found, whole([part[:3] for part in parts], weight, bias))
    assert len(calls) == 3


def test_fewer_rows_are_another_product_also_where_one_part_is_most_of_the_input():
    parts, weight, bias = torch.randn(4, 3).double(), torch.randn(2, 9, 5).double(), torch.randn(2, 1, 5).double()
    live, first = torch.randn(4, 6).double(), keeping()
    for rows in (4, 3, 1):
        found, given = first([parts[:rows], live[:rows]], weight, bias, 1)
        torch.testing.assert_close(found, whole([parts[:rows], given], weight, bias))


def test_nothing_is_kept_unless_the_weights_are_promised_to_stay():
    """Neither before the promise nor after it: an optimiser's step counts at once."""
    parts, weight, bias = make()
    first = KeptProduct()
    for keep in (None, True, False):
        if keep is not None:
            first.keep(keep)
        first(parts, weight, bias, 1)
        weight.data.mul_(2)  # leaves no trace, as a fused optimiser does
        first.keep(False)
        torch.testing.assert_close(first(parts, weight, bias, 1)[0], whole(parts, weight, bias))


def test_no_gradient_passes():
    parts, weight, bias = make()
    parts[1].requires_grad_()
    assert not any(each.requires_grad for each in keeping()(parts, weight.requires_grad_(), bias, 1))


def test_parts_that_stay_are_not_looked_at_again(monkeypatch):
    """A sweep would be quadratic in the number of agents if every turn asked all of them."""
    parts, weight, bias = make()
    first = keeping()
    first(parts, weight, bias, 1)
    marked, mark = [], kept_product._mark
    monkeypatch.setattr(kept_product, "_mark", lambda part: marked.append(part) or mark(part))
    parts[2] = torch.randn_like(parts[2])
    first(parts, weight, bias, 1)
    assert not any(part is each for part in (parts[0], parts[1], parts[3]) for each in marked)
