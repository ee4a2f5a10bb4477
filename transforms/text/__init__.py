"""Text that wants to be misread, as its readers read it.

`restore` undoes disguises in a chain of named steps (`chain.STEPS`), each a function of texts that
is tested alone. Every step is total and takes time linear in the text; the chain is idempotent. A
word in one script is left alone: only a word that mixes scripts is folded, to one of its own.
"""

from transforms.text.chain import STEPS, STEPS_BY_LIST, RestoredTexts, restore
from transforms.text.look_alikes import count_mixed_words
from transforms.text.points import Texts

__all__ = ["STEPS", "STEPS_BY_LIST", "RestoredTexts", "Texts", "count_mixed_words", "restore"]
