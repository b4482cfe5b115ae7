"""How much of what a network does does an explanation account for? Causal scrubbing, as a library."""

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
