"""Which language each line is in: a model that each worker loads once, and that scores many lines in one call.

    pip install py3langid
    python examples/text_classification.py

The model is py3langid's, a naive Bayes of 139 languages. What a line consists of is found line by line, in `features`;
`languages` adds up the scores of all lines that it gets with a few calls of numpy. Lines without anything are left out.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier, visit_counts

from pipeframe_async import PipeFrame, PipelineEngine, apply, keep_if, vectorize

LINES = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "Der schnelle braune Fuchs springt über den faulen Hund, und den stört das gar nicht.",
    "Le rapide renard brun saute par-dessus le chien paresseux, qui ne s'en soucie pas.",
    "El rápido zorro marrón salta sobre el perro perezoso, y al perro no le importa nada.",
    "Rychlá hnědá liška skáče přes líného psa, a tomu to vůbec nevadí.",
    "Быстрая коричневая лиса прыгает через ленивую собаку, а той всё равно.",
    "1234 5678",
    "",
]


class Languages(PipelineEngine[str, str]):
    """Lines in, languages out."""

    source = "stream"

    def __init__(self, times: int) -> None:
        self.times = times
        self.found: Counter[str] = Counter()
        self.steps = [apply(self.features), keep_if(bool), vectorize(self.languages, size=128)]

    def setup(self) -> None:
        """In each worker, before its first line."""
        self.model: Any = LanguageIdentifier.from_model_file(MODEL_FILE)
        self.rows = [row << 8 for row in self.model.tk_row]

    def features(self, line: str) -> Counter[int] | None:
        """How often each feature of the model is in a line; None where none is."""
        counts: Counter[int] | None = visit_counts(
            self.model.tk_nextmove, self.rows, self.model.tk_output, line.encode()
        )
        return counts

    def languages(self, lines: list[Counter[int]]) -> list[str]:
        """The most likely language of each line."""
        sizes = [len(features) for features in lines]
        which = np.fromiter((feature for features in lines for feature in features), int)
        often = np.fromiter((count for features in lines for count in features.values()), np.float32)
        terms = np.log1p(often)[:, None] * self.model.nb_ptc[which]
        scores = np.add.reduceat(terms, np.cumsum([0, *sizes[:-1]])) + self.model.nb_pc
        return [self.model.nb_classes[best] for best in scores.argmax(axis=1)]

    async def feed(self) -> AsyncIterator[str]:
        """As if they came from somewhere."""
        for _ in range(self.times):
            for line in LINES:
                yield line

    def sink(self, languages: list[str]) -> None:
        """Count them."""
        self.found.update(languages)


async def main() -> None:
    """Classify a thousand times each line."""
    pipeline = Languages(1_000)
    async with PipeFrame() as frame:
        print(await frame.run(pipeline))
        language = await frame.call(pipeline, "Il cane pigro non se ne accorge nemmeno, e continua a dormire.")
        print(language)
    for language, count in sorted(pipeline.found.items()):
        print(f"{language} {count:,}")


if __name__ == "__main__":
    asyncio.run(main())
