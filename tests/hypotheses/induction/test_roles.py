"""Head scores on patterns made by hand, the rule that groups heads, and the file of roles."""

import json
import os
from dataclasses import fields, replace

import pytest
import torch

from hypotheses.induction.roles import Roles, check_roles, find_roles, head_scores, load_roles, pooled, save_roles
from scrubbing.errors import ModelError

BEGIN = 0
SIZE = {"n_layers": 2, "n_heads": 8}
SCORES = ("previous", "current", "begin", "induction", "same", "copies")


def pattern_to(targets):
    """A pattern `[1, 1, S, S]` in which each query attends to one key only."""
    pattern = torch.zeros(1, 1, len(targets), len(targets))
    pattern[0, 0, range(len(targets)), targets] = 1.0
    return pattern


def random_pattern(rows, heads, positions, seed=0):
    scores = torch.randn(rows, heads, positions, positions, generator=torch.Generator().manual_seed(seed)).double()
    return scores.masked_fill(~torch.ones(positions, positions, dtype=torch.bool).tril(), -torch.inf).softmax(-1)


def slow_scores(pattern, tokens, begin):
    """Each head of a chunk, key by key."""
    values = {name: [[] for _ in range(pattern.shape[1])] for name in SCORES}
    for row, row_tokens in enumerate(tokens.tolist()):
        for q in range(1, len(row_tokens)):
            if row_tokens[q] == begin:
                continue
            earlier = [k for k in range(q) if row_tokens[k] == row_tokens[q]]
            for head in range(pattern.shape[1]):
                attention = pattern[row, head, q].tolist()
                values["previous"][head].append(attention[q - 1])
                values["current"][head].append(attention[q])
                values["begin"][head].append(attention[0])
                if earlier:
                    values["induction"][head].append(sum(attention[k + 1] for k in earlier))
                    values["copies"][head].append(sum(attention[k] for k in earlier))
                    values["same"][head].append(sum(attention[k] for k in earlier) + attention[q])
    return {name: [sum(v) / max(len(v), 1) for v in heads] for name, heads in values.items()}


def assert_close(scores, expected):
    for name in SCORES:
        torch.testing.assert_close(getattr(scores, name), torch.tensor(expected[name], dtype=torch.float64))


# positions                0  1  2  3  4  5  6
TOKENS = torch.tensor([[BEGIN, 5, 6, 7, 5, 6, 7]])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([0, 0, 1, 2, 3, 4, 5], {"previous": 1, "begin": 1 / 6}),
        ([0, 1, 2, 3, 4, 5, 6], {"current": 1, "same": 1}),
        ([0, 0, 0, 0, 0, 0, 0], {"begin": 1, "previous": 1 / 6}),
        ([0, 0, 0, 0, 2, 3, 4], {"induction": 1, "begin": 1 / 2, "previous": 1 / 6}),
        ([0, 1, 2, 3, 1, 2, 3], {"same": 1, "copies": 1, "current": 1 / 2}),
        (
            [0, 0, 0, 0, 2, 0, 6],
            {"induction": 1 / 3, "same": 1 / 3, "current": 1 / 6, "begin": 2 / 3, "previous": 1 / 6},
        ),
    ],
    ids=["previous", "current", "begin", "induction", "copies", "some of each"],
)
def test_heads_of_one_habit(targets, expected):
    scores = head_scores(pattern_to(targets), TOKENS, BEGIN)
    assert (scores.positions, scores.repeats) == (6, 3)
    assert_close(scores, {name: [expected.get(name, 0.0)] for name in SCORES})


def test_every_earlier_occurrence_counts():
    tokens = torch.tensor([[BEGIN, 5, 6, 5, 7, 5]])
    pattern = pattern_to([0, 0, 0, 2, 0, 0])
    pattern[0, 0, 5] = torch.tensor([0.1, 0.0, 0.3, 0.0, 0.6, 0.0])
    assert head_scores(pattern, tokens, BEGIN).induction.item() == pytest.approx((1.0 + 0.9) / 2)


def test_a_token_right_after_itself_is_a_follower():
    scores = head_scores(pattern_to([0, 0, 2]), torch.tensor([[BEGIN, 5, 5]]), BEGIN)
    assert scores.induction.item() == scores.same.item() == 1


def test_begin_is_no_text():
    recurring = torch.tensor([[BEGIN, 5, BEGIN, 6]])
    scores = head_scores(pattern_to([0, 0, 1, 1]), recurring, BEGIN)
    assert (scores.positions, scores.repeats) == (2, 0)
    assert scores.induction.item() == 0
    assert head_scores(pattern_to([0, 0, 1, 1]), recurring, None).repeats == 1


@pytest.mark.parametrize("begin", [None, 0, 3])
def test_scores_equal_the_slow_ones(begin):
    tokens = torch.randint(0, 6, (5, 14), generator=torch.Generator().manual_seed(1))
    pattern = random_pattern(5, 3, 14)
    assert_close(head_scores(pattern, tokens, begin), slow_scores(pattern, tokens, begin))


def test_chunks_weigh_as_much_as_the_positions_in_them():
    tokens = torch.randint(0, 9, (7, 12), generator=torch.Generator().manual_seed(2))
    tokens[0] = torch.arange(12) + 10  # a chunk of its own in which nothing recurs
    pattern = random_pattern(7, 4, 12)
    pieces = [slice(0, 1), slice(1, 3), slice(3, 7)]
    joined = pooled(head_scores(pattern[s], tokens[s], BEGIN) for s in pieces)
    whole = head_scores(pattern, tokens, BEGIN)
    assert (joined.positions, joined.repeats) == (whole.positions, whole.repeats)
    assert_close(joined, {name: getattr(whole, name).tolist() for name in SCORES})


def test_no_chunks_are_an_error():
    with pytest.raises(ModelError, match="no heads were measured: there are no rows"):
        pooled([])


@pytest.mark.parametrize("shape", [(1, 2, 7), (2, 2, 7, 7), (1, 2, 6, 6), (1, 2, 7, 6)])
@pytest.mark.usefixtures("unchecked")
def test_a_pattern_of_another_shape_is_an_error(shape):
    with pytest.raises(ModelError, match=r"does not belong to tokens of shape \[1, 7\]"):
        head_scores(torch.zeros(shape), TOKENS, BEGIN)


def test_scores_print_as_a_table():
    lines = str(head_scores(random_pattern(1, 3, 7), TOKENS, BEGIN)).splitlines()
    assert lines[0].split() == ["head", *SCORES]
    assert len(lines) == 5
    assert lines[-1] == "6 positions, 3 of them with a token seen before"


def scores_with(**given):
    """Scores of four heads, zero unless given."""
    zero = head_scores(torch.zeros(1, 4, 7, 7), TOKENS, BEGIN)
    return replace(zero, **{name: torch.tensor(values, dtype=torch.float64) for name, values in given.items()})


def test_roles_follow_the_thresholds():
    layer0 = scores_with(previous=[0.2, 0.7, 0.1, 0.55], same=[0.6, 0.1, 0.49, 0.51])
    layer1 = scores_with(induction=[0.34, 0.1, 0.6, 0.33])
    assert find_roles(layer0, layer1) == Roles(induction=((1, 0), (1, 2)), previous=((0, 1), (0, 3)), self=((0, 0),))


def test_the_best_head_has_the_role_where_none_is_good():
    roles = find_roles(scores_with(previous=[0.1, 0.1, 0.3, 0.2]), scores_with(induction=[0.0, 0.2, 0.1, 0.1]))
    assert roles == Roles(induction=((1, 1),), previous=((0, 2),))


def test_a_previous_token_head_is_no_self_attender():
    roles = find_roles(scores_with(previous=[0.4, 0, 0, 0], same=[0.6, 0, 0, 0]), scores_with(induction=[1, 0, 0, 0]))
    assert roles.self_ == ()


def test_roles_are_not_guessed_from_nothing():
    nothing = replace(scores_with(), repeats=0)
    with pytest.raises(ModelError, match="heads of layer 1 were measured on rows in which no token recurs"):
        find_roles(scores_with(), nothing)
    with pytest.raises(ModelError, match="attention of layer 0 is not finite"):
        find_roles(scores_with(same=[float("nan"), 0, 0, 0]), scores_with())


ROLES = Roles(induction=((1, 5), (1, 6)), previous=((0, 0),), self=((0, 1), (0, 2), (0, 5)))


def test_roles_are_written_as_the_command_line_reads_them(tmp_path):
    path = tmp_path / "roles.json"
    save_roles(ROLES, path)
    assert json.loads(path.read_text()) == {
        "induction": [[1, 5], [1, 6]],
        "previous": [[0, 0]],
        "self": [[0, 1], [0, 2], [0, 5]],
    }
    assert load_roles(path, **SIZE) == ROLES
    assert [p.name for p in tmp_path.iterdir()] == ["roles.json"]


def test_a_model_may_have_no_self_attenders(tmp_path):
    path = tmp_path / "roles.json"
    path.write_text('{"induction": [[1, 5]], "previous": [[0, 0]]}')
    assert load_roles(path, **SIZE).self_ == ()


GOOD = {"induction": [[1, 5]], "previous": [[0, 0]], "self": [[0, 2]]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            GOOD | {"induction": []},
            "does not hold usable roles: 'induction' names no head; name at least one of layer 1",
        ),
        (GOOD | {"previous": []}, "'previous' names no head; name at least one of layer 0"),
        (GOOD | {"induction": [[0, 5]]}, "'induction' names head 0.5; its heads are of layer 1: name one of those"),
        (GOOD | {"previous": [[1, 0]]}, "'previous' names head 1.0; its heads are of layer 0"),
        (GOOD | {"self": [[0, 0]]}, "head 0.0 is in 'previous' and in 'self'; a head has one role: leave it in one"),
        (GOOD | {"self": [[0, 2], [0, 2]]}, "'self' names head 0.2 twice; name it once"),
        (GOOD | {"self": [[0, 8]]}, "'self' names head 0.8, which the model does not have: its layers are 0 to 1 and"),
        (GOOD | {"self": [[0, -1]]}, "'self' names head 0.-1, which the model does not have"),
        (GOOD | {"induction": [[1, 9]], "previous": [[0, 8]]}, "head 1.9, .*; also, 'previous' names head 0.8"),
        (
            GOOD | {"inducton": [[1, 5]]},
            "does not hold roles: inducton: Extra inputs are not permitted; it should look",
        ),
        ({"induction": [[1, 5]]}, "previous: Field required"),
        (GOOD | {"self": [[0]]}, "does not hold roles: self.0.1: Field required"),
        (GOOD | {"self": [[0, "2"]]}, "self.0.1: Input should be a valid integer"),
        ([], "does not hold roles: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path, given, message):
    path = tmp_path / "roles.json"
    path.write_text(json.dumps(given))
    with pytest.raises(ModelError, match=message) as caught:
        load_roles(path, **SIZE)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b'{"induction"', b"\xff\xfe", b"[" * 10**5, b'{"self":' * 10**4, b"1" * 5000),
        b'{"induction": [[1, 5]], "previous": [[0, 0]], "previous": [[0, 1]]}',
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "roles.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="does not hold roles: Invalid JSON") as caught:
        load_roles(path, **SIZE)
    assert "\n" not in str(caught.value)


def test_a_file_of_many_mistakes_is_told_briefly_and_soon(tmp_path):
    path = tmp_path / "roles.json"
    many = 20_000
    for heads in ([[1, 5]] * many, [[0, n] for n in range(many)], [["a", "b"]] * many):
        path.write_text(json.dumps({"induction": heads, "previous": heads}))
        with pytest.raises(ModelError) as caught:
            load_roles(path, **SIZE)
        assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_file_that_would_never_end_is_not_begun(tmp_path, make):
    make(tmp_path / "roles.json")
    with pytest.raises(ModelError, match=r"roles.json cannot be read \(it is no ordinary file; "):
        load_roles(tmp_path / "roles.json", **SIZE)


def test_a_missing_file_is_told_with_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"roles.json cannot be read \(No such file or directory\); measure the heads"):
        load_roles(tmp_path / "roles.json", **SIZE)


def test_roles_are_checked_when_made():
    with pytest.raises(ModelError, match=r"'induction' names head 0.5; .*; also, 'induction' names head 0.6"):
        Roles(induction=((0, 5), (0, 6)), previous=((0, 0),))
    with pytest.raises(ModelError, match=r"'induction' names head 1.5, which the model does not have"):
        check_roles(ROLES, n_layers=2, n_heads=4)


def test_every_score_is_tested():
    assert {field.name for field in fields(scores_with())} == {*SCORES, "positions", "repeats"}
