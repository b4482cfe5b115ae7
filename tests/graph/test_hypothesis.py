"""A hypothesis that its network cannot be asked about is refused when it is made, with all that is wrong with it."""

import pytest

from scrubbing import Graph, GraphError, Hypothesis, HypothesisError, reads

G = Graph(
    embed=lambda tokens: tokens,
    key=lambda embed: embed,
    query=lambda embed: embed,
    pattern=lambda query, key: query * key,
    loss=lambda pattern, labels, weights: pattern - labels * weights,
)
LABELS = ("labels", "weights")
TOP = Graph(loss=reads("pattern", *LABELS), pattern=reads("query", "key"), query=reads("tokens"), key=reads("tokens"))

ILLEGAL = {
    "the output runs elsewhere": (
        Graph(pattern=reads("tokens")),
        {},
        "I's output 'pattern' runs on 'pattern', but it must run on G's output 'loss': rename it, "
        "or map it with c={'pattern': 'loss'}",
    ),
    "a misspelt input": (
        TOP | {"pattern": reads("querry", "key")},
        {},
        "'pattern' claims to read 'querry', but 'pattern' reads only: query, key; did you mean 'query'?",
    ),
    "a misspelt column": (
        TOP | {"embed": reads("tokns"), "key": reads("embed")},
        {},
        "'embed' claims to read 'tokns', but 'embed' reads only: tokens; did you mean 'tokens'?",
    ),
    "a column that nobody reads": (
        TOP | {"key": reads("tokens", "atypical")},
        {},
        "'key' claims to read 'atypical', but 'key' reads only: embed; "
        "a column for features alone is declared with columns=('atypical',)",
    ),
    "an input that is not claimed": (
        TOP | {"key": reads("embed")},
        {},
        "'key' reads 'embed', which I does not have: claim it too, e.g. embed=reads(\"tokens\")",
    ),
    "a node of G that the image does not read": (
        TOP | {"loss": reads("pattern", "key", *LABELS)},
        {},
        "'loss' claims to read 'key', but 'loss' reads only: pattern, labels, weights; "
        "'key' can be claimed where it is read: by 'pattern'",
    ),
    "a node of G that neither I has nor the image reads": (
        TOP | {"pattern": reads("query", "embed")},
        {},
        "'pattern' claims to read 'embed', but 'pattern' reads only: query, key; "
        "'embed' can be claimed where it is read: by 'key', 'query'",
    ),
    "a renamed node that its reader does not read": (
        Graph(loss=reads("look", *LABELS), look=reads("k"), k=reads("e"), e=reads("tokens")),
        {"c": {"look": "pattern", "k": "embed", "e": "embed"}},
        "'look' (run by 'pattern') claims to read 'k', but 'pattern' reads only: query, key; "
        "'embed' can be claimed where it is read: by 'key', 'query'\n"
        "'k' (run by 'embed') claims to read 'e', but 'embed' reads only: tokens; "
        "'embed' can be claimed where it is read: by 'key', 'query'",
    ),
    "two inputs with one image": (
        TOP | {"pattern": reads("query", "other_query"), "other_query": reads("tokens")},
        {"c": {"other_query": "query"}},
        "'pattern' reads 'query' and 'other_query', which both run on 'query'",
    ),
    "labels that I's output does not read": (
        TOP | {"loss": reads("pattern", "labels")},
        {},
        "G's output 'loss' reads the column 'weights' and I's does not; it belongs to the reference: "
        "read it in I's 'loss', or to scramble it on purpose say scramble=('weights',)",
    ),
    "scrambling what is no label": (
        TOP,
        {"scramble": ("tokens",)},
        "scramble names 'tokens', which is no column that G's output 'loss' reads",
    ),
    "a leaf whose columns reach nothing": (
        TOP | {"key": reads("labels")},
        {},
        "'key' reads 'labels', none of which reaches 'key', so the donor that it chooses would have no effect: "
        "read 'tokens' as well",
    ),
    "a leaf with a feature alone": (
        TOP | {"key": lambda atypical: atypical},
        {"columns": ("atypical",)},
        "'key' reads 'atypical', none of which reaches 'key', so the donor that it chooses would have no effect: "
        "read 'tokens' as well",
    ),
    "c maps what is no node of I": (
        TOP,
        {"c": {"patern": "pattern"}},
        "c maps 'patern', which is no node of I; did you mean 'pattern'?",
    ),
    "c maps to what is no node of G": (
        TOP | {"pattern": reads("query", "k"), "k": reads("tokens")},
        {"c": {"k": "kay"}},
        "I's 'k' runs on 'kay', which is no node of G; did you mean 'key'?",
    ),
    "a node of I with a column's name": (
        TOP | {"pattern": reads("tokens"), "tokens": reads("labels")},
        {"c": {"tokens": "key"}},
        "'tokens' is a node of I and a column of the data: rename the node\n"
        "'tokens' reads 'labels', none of which reaches 'key', so the donor that it chooses would have no effect: "
        "read 'tokens' as well",
    ),
    "a declared column that is a node of G": (
        TOP,
        {"columns": ("embed",)},
        "'embed' is declared as a column, but it is a node of G",
    ),
    "everything at once": (
        Graph(loss=reads("patern", "labels"), patern=reads("tokens")),
        {"c": {"x": "y"}, "scramble": ("z",)},
        "c maps 'x', which is no node of I\n"
        "I's 'patern' runs on 'patern', which is no node of G; did you mean 'pattern'?\n"
        "G's output 'loss' reads the column 'weights' and I's does not; it belongs to the reference: "
        "read it in I's 'loss', or to scramble it on purpose say scramble=('weights',)\n"
        "scramble names 'z', which is no column that G's output 'loss' reads",
    ),
}


@pytest.mark.parametrize(("I", "settings", "message"), [pytest.param(*case, id=name) for name, case in ILLEGAL.items()])
def test_an_illegal_hypothesis_says_all_that_is_wrong(I, settings, message):
    with pytest.raises(HypothesisError) as error:
        Hypothesis(G, I, **settings)
    assert str(error.value) == message


LEGAL = {
    "all claimed": (TOP, {}),
    "labels alone": (Graph(loss=reads(*LABELS)), {}),
    "a scrambled label": (Graph(loss=reads("labels")), {"scramble": ("weights",)}),
    "renamed, the output too": (
        Graph(score=reads("p", *LABELS), p=reads("tokens")),
        {"c": {"score": "loss", "p": "pattern"}},
    ),
    "one node of G by two paths": (
        TOP | {"query": reads("embed"), "key": reads("e2"), "embed": reads("tokens"), "e2": reads("tokens")},
        {"c": {"e2": "embed"}},
    ),
    "a declared feature": (TOP | {"key": lambda tokens, atypical: atypical}, {"columns": ("atypical",)}),
    "a label as a feature": (TOP | {"pattern": lambda query, key, labels: labels}, {}),
    "a claim that nothing matters": (TOP | {"key": reads()}, {}),
}


@pytest.mark.parametrize(("I", "settings"), [pytest.param(*case, id=name) for name, case in LEGAL.items()])
def test_a_legal_hypothesis_is_made(I, settings):
    assert Hypothesis(G, I, **settings).I is I


def test_what_a_claim_reads_is_a_column_an_edge_or_all_open_paths():
    h = Hypothesis(
        G, Graph(loss=reads("p", *LABELS), p=reads("q", "tokens"), q=reads("tokens")), {"p": "pattern", "q": "query"}
    )
    assert h.claimed_inputs("loss") == {"pattern": "p"}
    assert h.read_columns("loss") == LABELS
    assert h.passed_columns("loss") == frozenset()  # the image reads its labels itself
    assert h.claimed_inputs("p") == {"query": "q"}
    assert h.passed_columns("p") == {"tokens"}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("columns", ["t", 3, None, [1], {"t": 1}, object()])
@pytest.mark.parametrize("name", ["columns", "scramble"])
def test_names_of_columns_stand_in_a_tuple(name, columns):
    G = Graph(a=lambda x: x, loss=lambda a, y: a - y)
    with pytest.raises(HypothesisError, match=f"^{name}=.* must be names of columns in a tuple"):
        Hypothesis(G, G, **{name: columns})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("c", [["a"], "a", 3, None, {"a": 1}, {1: "a"}])
def test_c_maps_names_to_names(c):
    G = Graph(a=lambda x: x, loss=lambda a, y: a - y)
    with pytest.raises(HypothesisError, match=r"^c.* must map names of I to names of G"):
        Hypothesis(G, G, c)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("I", [dict(loss=reads("y")), None, "I", 3, [reads("y")]])
def test_what_is_no_graph_is_refused(I):
    G = Graph(a=lambda x: x, loss=lambda a, y: a - y)
    with pytest.raises(HypothesisError, match=r"^I is .*, and must be a Graph"):
        Hypothesis(G, I)


CHAIN = Graph(A=lambda x: x, K=lambda A: A, loss=lambda K, y: K - y)


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"K": reads("Aa")}, "'K' claims to read 'Aa', but 'K' reads only: A; did you mean 'A'?"),
        ({"loss": reads("A", "y")}, "'loss' reads only: K, y; 'A' can be claimed where it is read: by 'K'"),
        ({"loss": reads("A", "y"), "A": reads("x")}, "'A' can be claimed where it is read: by 'K'"),
    ],
)
def test_a_wrong_edge_is_told_with_what_is_near(claims, told):
    with pytest.raises(HypothesisError) as raised:
        Hypothesis(CHAIN, Graph({"loss": reads("K", "y"), **claims} if "K" in claims else claims))
    assert told in str(raised.value)
    assert "columns=('A'" not in str(raised.value)


MISSPELT = [("Aa", "A"), ("AA", "A"), ("A_", "A"), ("prev_at", "prev_att"), ("hidden_2", "hidden")]


@pytest.mark.parametrize(("read", "meant"), MISSPELT)
def test_a_misspelt_edge_is_told_with_the_node_that_nothing_reads(read, meant):
    base = Graph(loss=reads("K", "y"), K=reads("x"))
    with pytest.raises(GraphError, match=f"'K' reads {read!r}; did you mean {meant!r}"):
        base | {"K": reads(read), meant: reads("x")}
