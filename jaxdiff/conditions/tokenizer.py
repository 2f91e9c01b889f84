"""CLIP's tokenizer: prompts to tokens. The library `tokenizers` is optional."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError

MOST_CHARACTERS = 10**6
"""Limit of the characters of a prompt."""


class Tokens(NamedTuple):
    """The tokens of N prompts.

    Attributes:
        ids: between a begin and an end token, padded to L tokens, (N, L).
        ends: the position of the first end token, (N,).
        cut: the end of each prompt that L tokens do not hold, empty where they hold all of it.
    """

    ids: Int32[np.ndarray, "n l"]
    ends: Int32[np.ndarray, " n"]
    cut: tuple[str, ...]


class Difference(NamedTuple):
    """Where the tokens of two prompts differ: all before and after are equal.

    Attributes:
        start: the position of the first token that differs, where 0 is the begin token.
        first, second: the texts of the tokens from there on, in each prompt. Where they are not as many, what follows has other
            positions, too.
    """

    start: int
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class Tokenizer:
    """CLIP's byte-pair encoding of prompts in lower case (Radford et al. 2021), see `jaxdiff.conditions.tokenizer_files.read`.

    Attributes:
        description: vocabulary, merges and added tokens, as the library `tokenizers` writes them.
        length: tokens of a prompt, L.
        begin, end, pad: the tokens before and after a prompt, and those that follow.
    """

    description: str = field(repr=False)
    length: int
    begin: int
    end: int
    pad: int

    @cached_property
    def _encoding(self) -> Any:
        return library().Tokenizer.from_str(self.description)

    @cached_property
    def _counts(self) -> dict[int, int]:
        """How many tokens an added token stands for: itself, `NAME_1`, `NAME_2` .. that follow it, as in diffusers."""
        added = self._encoding.get_added_tokens_decoder()
        counts = {token: 1 for token, each in added.items() if not each.special}
        for token in counts:
            while token + counts[token] in counts and added[token + counts[token]].content == (
                f"{added[token].content}_{counts[token]}"
            ):
                counts[token] += 1
        return counts

    @property
    def size(self) -> int:
        """The number of tokens, added ones included."""
        return self._encoding.get_vocab_size()

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """The tokens of prompts. A prompt that is too long loses its end, not the end token.

        Raises:
            InputError: a prompt is no text, or longer than `MOST_CHARACTERS`.
        """
        ids, ends, cut = np.full((len(prompts), self.length), self.pad, np.int32), np.zeros(len(prompts), np.int32), []
        for row, prompt in enumerate(prompts):
            pieces = list(self._pieces(prompt))
            kept = [self.begin, *(token for token, *_ in pieces[: self.length - 2]), self.end]
            ids[row, : len(kept)], ends[row] = kept, kept.index(self.end)  # an end token may be written in the prompt
            cut.append(prompt[pieces[self.length - 2][1] :] if len(pieces) > self.length - 2 else "")
        return Tokens(ids, ends, tuple(cut))

    def difference(self, first: str, second: str) -> Difference:
        """Where the tokens of two prompts differ. Prompts that are meant to differ in a word may differ in more."""
        one, other = (
            [(token, prompt[start:stop]) for token, start, stop in self._pieces(prompt)][: self.length - 2]
            for prompt in (first, second)
        )
        tokens = [[token for token, _ in each] for each in (one, other)]
        start = len(os.path.commonprefix(tokens))
        after = len(os.path.commonprefix([each[start:][::-1] for each in tokens]))
        texts = (tuple(text for _, text in each[start : len(each) - after]) for each in (one, other))
        return Difference(start + 1, *texts)

    def words(self, prompt: str, chosen: Bool[np.ndarray, " l"]) -> tuple[str, ...]:
        """The texts of the chosen ones of a prompt's L tokens; those of the begin token, the end token and padding are none."""
        pieces = list(self._pieces(prompt))[: self.length - 2]
        return tuple(prompt[start:stop] for (_, start, stop), own in zip(pieces, chosen[1:], strict=False) if own)

    def with_tokens(self, counts: Mapping[str, int]) -> "Tokenizer":
        """A tokenizer with more tokens (textual inversion, Gal et al. 2022), appended after all others.

        Arguments:
            counts: for each new token the number of vectors that it stands for in a prompt: it becomes as many tokens.

        Raises:
            InputError: a token is empty, known, or stands for no vector.
        """
        tokenizers, added = library(), library().Tokenizer.from_str(self.description)
        for name, count in counts.items():
            if not name.strip() or not is_text(name) or added.token_to_id(name) is not None:
                raise InputError(f"a new token must be a text that is no token yet, got {shortened(name)}")
            if not 1 <= count < self.length - 1:
                raise InputError(f"token {name!r} must stand for 1 to {self.length - 2} vectors, got {count}")
            for each in (name, *(f"{name}_{number}" for number in range(1, count))):
                if added.add_tokens([tokenizers.AddedToken(each, normalized=True)]) != 1:
                    raise InputError(f"token {name!r} needs {each!r} for its vectors, which is a token already")
        return replace(self, description=added.to_str())

    def _pieces(self, prompt: str) -> Iterator[tuple[int, int, int]]:
        """The tokens of a prompt, each with where its text starts and stops."""
        if not is_text(prompt):
            raise InputError(f"a prompt must be Unicode text, got {shortened(prompt)}")
        if len(prompt) > MOST_CHARACTERS:
            raise InputError(f"a prompt must have at most {MOST_CHARACTERS:,} characters, got {len(prompt):,}")
        encoding = self._encoding.encode(prompt, add_special_tokens=False)
        for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            yield from ((token + number, start, stop) for number in range(self._counts.get(token, 1)))


def is_text(text: str) -> bool:
    """Whether a text can be written: files of JSON may have half a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def library() -> Any:
    """The library tokenizers. Raises `InputError` where it is not installed."""
    try:
        import tokenizers
    except ImportError as error:
        raise InputError("prompts need the library tokenizers: install it with pip install 'jaxdiff[text]'") from error
    return tokenizers
