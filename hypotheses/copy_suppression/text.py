"""The text that the shipped network is trained on: a word that was said is not said again, however well it would fit.

Words alternate with connectives. Which word comes next depends on the last one and on the connective between; and where
it has been said in the row, it is far less probable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

BEGIN, STOP = 0, 1
CONNECTIVES = (" and", " or", " with", " near", " under", " before")
WORDS = tuple(
    " " + word
    for word in """
    anchor apple arrow badge barn basket beach bell bird blanket boat bone book bottle box bridge brush bucket button
    cabin candle canoe carpet castle chain chair cheese cherry clock cloud coat coin compass copper corn cottage crown
    cup desk diamond door drum eagle engine feather fence field flag flute forest fork fountain garden gate glove goat
    guitar hammer harbor hat honey horse island jacket kettle ladder lake lamp lantern leaf lemon maple market mirror
    mountain needle oak orange owl paddle paper pearl pencil piano plate pond ribbon river rope saddle sail shoe silver
    spoon stone table
    """.split()
)
VOCABULARY = ("<begin>", ".", *CONNECTIVES, *WORDS)
FIRST_WORD = 2 + len(CONNECTIVES)

Rows = Int[np.ndarray, "row position"]


@dataclass(frozen=True)
class Text:
    """What follows what: a table that the seed decides.

    After a word comes a full stop one time in `stops`, or any of the connectives. The word thereafter has the odds
    `best` for three successors of the last word and the connective, each word's share of `smoothing`; and `again` times
    that where it has been said in the row.

    >>> "".join(VOCABULARY[token] for token in Text().rows(1, 8, seed=0)[0])
    '<begin> pearl near coat. market under basket'
    """

    seed: int = 0
    best: tuple[float, ...] = (0.7, 0.2, 0.1)
    smoothing: float = 0.04
    again: float = 0.03
    stops: int = 7

    @cached_property
    def base(self) -> Float[np.ndarray, "word connective next_word"]:
        """How probable each word is if none has been said; the first connective is the full stop."""
        rng = np.random.default_rng(self.seed)
        n, connectives = len(WORDS), 1 + len(CONNECTIVES)
        table = np.full((n, connectives, n), self.smoothing / n)
        for word in range(n):
            for connective in range(connectives):
                others = np.delete(np.arange(n), word)
                table[word, connective, rng.choice(others, len(self.best), replace=False)] += (
                    1 - self.smoothing
                ) * np.array(self.best)
        return table

    def rows(self, rows: int, length: int, seed: int | Sequence[int]) -> Rows:
        """Random rows of `length` tokens: the beginning, a word, a connective, a word, and so on."""
        rng = np.random.default_rng(seed)
        found = np.full((rows, length), BEGIN)
        every = np.arange(rows)
        word = rng.integers(0, len(WORDS), rows)
        said = np.zeros((rows, len(WORDS)), dtype=bool)
        for position in range(1, length):
            if position % 2:
                found[:, position] = FIRST_WORD + word
                said[every, word] = True
                continue
            connective = np.where(rng.random(rows) < 1 / self.stops, 0, rng.integers(1, 1 + len(CONNECTIVES), rows))
            found[:, position] = STOP + connective
            cumulated = self.odds(word, connective, said).cumsum(1)
            word = (cumulated < rng.random((rows, 1)) * cumulated[:, -1:]).sum(1)
        return found

    def odds(
        self,
        word: Int[np.ndarray, " row"],
        connective: Int[np.ndarray, " row"],
        said: Bool[np.ndarray, "row word"],
    ) -> Float[np.ndarray, "row word"]:
        """What the probabilities of the next word are proportional to."""
        return self.base[word, connective] * np.where(said, self.again, 1.0)

    def least_loss(self, rows: Rows) -> float:
        """The mean loss in nats of the true odds where a word comes next, from the second word of each row on."""
        losses: list[Float[np.ndarray, " row"]] = []
        every = np.arange(len(rows))
        said = np.zeros((len(rows), len(WORDS)), dtype=bool)
        for position in range(3, rows.shape[1], 2):
            word, connective, following = rows[:, position - 2 : position + 1].T
            said[every, word - FIRST_WORD] = True
            odds = self.odds(word - FIRST_WORD, connective - STOP, said)
            losses.append(-np.log(odds[every, following - FIRST_WORD] / odds.sum(1)))
        return float(np.mean(losses))
