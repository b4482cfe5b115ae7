"""How much of what a network does does an explanation account for? Causal scrubbing, as a library.

Start with `Graph` (the network, and the explanation), `Hypothesis` (which node of one is which of the other) and
`scrub` (the fraction of the network's performance that survives). Eight words come back everywhere:

datum       one row of the data; in a scrubbed run, every node runs on a datum of its own
reference   the datum whose loss is measured; the output runs on it
donor       a datum that stands in for another one at a node
claimed     an input that the explanation names; every other input is unclaimed, and takes its value from any donor
feature     what the explanation computes at a node; a donor must have the same feature
class       the data with the same feature at a node, from which a donor is drawn
stream      the data that one place of the explanation runs on, one for each reference and draw
baseline    the explanation that recovers 0%; the network itself recovers 100%

>>> from scrubbing import Graph, Hypothesis, reads, scrub
>>> G = Graph(a=lambda x1: 2 * x1, b=lambda x2: 3 * x2, loss=lambda a, b, y: (a + b - y) ** 2)
>>> data = {"x1": [0, 1, 0, 1], "x2": [0, 0, 1, 1], "y": [0, 2, 3, 5]}
>>> only_a = Hypothesis(G, Graph(a=reads("x1"), loss=reads("a", "y")))
>>> scrub(only_a, data, baseline=Graph(loss=reads("y")), exact=True).recovered
0.3076923076923077
"""

TYPE_CHECKING = False  # as type checkers see it; the module typing would be the largest part of an import

if TYPE_CHECKING:
    from scrubbing.experiments.public import *  # noqa: F403
    from scrubbing.experiments.public import __all__ as __all__

    __version__: str
else:  # where a type checker saw it, any name would seem to exist

    def __getattr__(name):
        """The public names, which `scrubbing.experiments.public` lists, and `__version__`.

        They are imported when one is first used (PEP 562): pytest imports this package for the sake of its plugin, in
        every run of whoever has it installed, and torch takes seconds.
        """
        if name == "__version__":
            from importlib.metadata import version

            return version("scrubbing")
        if name == "__all__" or not name.startswith("_"):
            import scrubbing.experiments.public as public

            if name == "__all__" or name in public.__all__:
                return getattr(public, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return [*__getattr__("__all__"), "__version__", *globals()]
