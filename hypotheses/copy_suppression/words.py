"""What tokens say: which of them are function words, and which are forms of one word."""

import re
from collections import defaultdict
from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from hypotheses.copy_suppression.directions import Table, Unembeddings

# The authors' code lists about 120 such tokens, chosen by hand; these are the closed classes of English.
FUNCTION_WORDS = frozenset(
    """
    a about above after against all also although am among an and any are as at away back be because been before behind
    being below between both but by can could did do does doing down during each either else every few for from had has
    have having he her here hers herself him himself his how i if in into is it its itself just like may me might more
    most much must my myself near neither no nor not now of off on one only onto or other our ours out over own per
    rather same shall she should since so some such than that the their theirs them then there these they this those
    though through to too toward towards under until up upon us very via was we well were what when where whether which
    while who whom whose why will with within without would yet you your yours yourself
    's 't 're 've 'll 'd 'm n't
    """.split()
)
SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Z]+\]")
SUFFIXES = ("'s", "ies", "es", "s", "ied", "ed", "ing", "er", "ers", "ly", "y", "e")
SHORTEST = 3  # letters of a word's root


def function_words(vocabulary: Sequence[str]) -> Bool[Tensor, " token"]:
    """Which tokens are function words, special tokens, or hold no letter and no digit.

    >>> function_words(["<begin>", " the", " pier", "...", " And", "9"]).tolist()
    [True, True, False, True, True, False]
    """
    return torch.tensor([_says_nothing(token) for token in vocabulary])


def _says_nothing(token: str) -> bool:
    word = token.strip()
    return (
        word.lower() in FUNCTION_WORDS
        or SPECIAL.fullmatch(word) is not None
        or not any(character.isalnum() for character in word)
        or not word.isprintable()
    )


def related(vocabulary: Sequence[str], unembeddings: Unembeddings, number: int) -> Table:
    """For each token itself and the most similar of those that are forms of one word with it: `number` in all.

    Forms differ in capitals, a leading space, a plural, the ending of a root, or in that one token begins the other.
    Of those, the ones whose unembeddings have the largest cosine come first; -1 stands for none.
    """
    sets = semantic_sets(vocabulary)
    table = torch.full((len(vocabulary), number), -1)
    table[:, 0] = torch.arange(len(vocabulary))
    directions = torch.nn.functional.normalize(unembeddings.all, dim=-1)
    for token, others in sets.items():
        if others:
            near = torch.tensor(others)
            order = (directions[near].cpu() @ directions[token].cpu()).argsort(descending=True)[: number - 1]
            table[token, 1 : 1 + len(order)] = near[order]
    return table


def semantic_sets(vocabulary: Sequence[str]) -> dict[int, list[int]]:
    """The other forms of each token's word.

    >>> semantic_sets([" pier", " Pier", " piers", " boat"])
    {0: [1, 2], 1: [0, 2], 2: [0, 1], 3: []}
    """
    words = [token.strip().lower() for token in vocabulary]
    by_root: dict[str, list[int]] = defaultdict(list)
    for token, word in enumerate(words):
        if any(character.isalpha() for character in word):
            for key in {word, root(word)}:
                by_root[key].append(token)
    sets: dict[int, list[int]] = {}
    for token, word in enumerate(words):
        known = {*by_root.get(word, ()), *by_root.get(root(word), ())}
        sets[token] = sorted(known - {token})
    return sets


def root(word: str) -> str:
    """A word without its ending.

    >>> root("piers"), root("walking"), root("is")
    ('pier', 'walk', 'is')
    """
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST:
            return word[: -len(suffix)]
    return word
