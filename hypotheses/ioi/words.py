"""Names, places, objects and templates: the words of prompts and of the text that the shipped network learnt from.

The schema is that of Wang et al. 2022: `[A]` is the indirect object and the answer, `[B]` the subject.
"""

NAMES = tuple(
    "Adam Alan Alex Alice Amy Andrew Andy Anna Anne Anthony Arthur Barbara Ben Betty Bill Bob Brian Carl Carol "
    "Charles Charlie Chris Claire Craig Dan Daniel David Dean Dennis Diana Donald Doug Edward Elizabeth Emily "
    "Emma Eric Eva Frank Fred Gary George Grace Greg Hannah Harry Helen Henry Howard Ian Jack Jacob James Jane "
    "Jason Jeff Jennifer Jessica Jim Joe John Joseph Josh Julia Justin Karen Kate Keith Kelly Ken Kevin Larry "
    "Laura Linda Lisa Lucy Luke Margaret Maria Mark Martin Mary Matt Matthew Michael Michelle Mike Nancy Nick "
    "Nicole Oliver Patrick Paul Peter Philip Rachel Ralph Rebecca Richard Robert Roger Ruth Ryan Sam Sarah Scott "
    "Simon Stephen Steve Susan Thomas Tim Tom Victoria William".split()
)
PLACES = tuple("store park library school market beach station hotel".split())
OBJECTS = tuple("book ring letter drink gift ticket camera ball".split())

# The first clause names the subject first; swapping its two names makes the ABBA template of the same number.
BABA = (
    "Then, [B] and [A] went to the [PLACE]. [B] gave a [OBJECT] to [A]",
    "When [B] and [A] came back from the [PLACE], [B] handed a [OBJECT] to [A]",
    "After [B] and [A] had a walk to the [PLACE], [B] brought a [OBJECT] to [A]",
    "While [B] and [A] were at the [PLACE], [B] offered a [OBJECT] to [A]",
    "Friends [B] and [A] found a [OBJECT] near the [PLACE]. [B] gave it to [A]",
    "Yesterday [B] and [A] got a [OBJECT] at the [PLACE]. Then [B] decided to give it to [A]",
    "Then, [B] and [A] had a long talk at the [PLACE]. After that, [B] said good night to [A]",
    "When [B] and [A] met by the [PLACE], [B] showed a [OBJECT] to [A]",
    "Today [B] and [A] were working at the [PLACE]. In the end [B] passed a [OBJECT] to [A]",
    "The day [B] and [A] left the [PLACE], [B] sent a [OBJECT] to [A]",
    "Once [B] and [A] were done at the [PLACE], [B] threw the [OBJECT] to [A]",
    "Later, [B] and [A] thought about a trip to the [PLACE]. [B] sold the [OBJECT] to [A]",
    "Because [B] and [A] liked the [PLACE], [B] took a [OBJECT] there and gave it to [A]",
    "In the morning [B] and [A] walked past the [PLACE] with a [OBJECT], and [B] lent it to [A]",
    "Before [B] and [A] got to the [PLACE], [B] promised a [OBJECT] to [A]",
)
