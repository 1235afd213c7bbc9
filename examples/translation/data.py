# SPDX-License-Identifier: MIT
"""Texts of user interfaces and their translations: gettext's catalogues in the wheels of Django,
Wagtail, django-oscar and django CMS, and what the telephone system Asterisk says, in Debian's
asterisk-core-sounds-en, -es and -fr."""

import gzip
import hashlib
import re
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from common.data import Debian, Wheel, read, read_many

from translation.deploy import (
    END,
    FIRST,
    LANGUAGES,
    MARKS,
    with_marks,
    words_of,
)

PACKAGES = {
    Wheel("django", "5.2.8"): "4ff7675a0c686e76dabf8465209ff56d2b8c488ae75d921b5483aabe0337ffe0",
    Wheel("wagtail", "8.0.1"): "49fb9ef9417b21e88eb0abe8a3d182410271f34d119de43c333713e5ce68fed3",
    Wheel(
        "django_oscar", "4.2.1"
    ): "19f3a5fb448ecacd69c305735eaf443b393e9b7bef56130ad4640b2888ce7a22",
    Wheel(
        "django_cms", "5.1.3"
    ): "d41bcd54a47f0fee39975d46c12add5dc0c13f08ef72c6c5177c29a56550d213",
}
CATALOGUE = re.compile(rf".*/locale/({'|'.join(LANGUAGES)})/LC_MESSAGES/django\.po")
PROMPTS = {  # a line each: the name of a recording, what it says; there are none in German
    "en": "436538195b7c7361bd227036686f1a4039f694648c76573bdaca956655d34450",
    "fr": "24830a518a6ee3b2bdeb97dbe6131f84ab21a864f4395ffeee076be6cff32882",
    "es": "870e4ddf27b115ee22774fc4b35d62d13534a49ec41081f3ca6017931fceb076",
}
SPELLED = ("letters/", "phonetic/")  # recordings of single letters
LONGEST = 100  # characters of a text or a translation
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT = [TRAIN] * 17 + [VALIDATION] + [TEST] * 2


class Pair(NamedTuple):
    english: str
    language: str
    translation: str
    part: str
    spoken: bool = False


def part_of(english):
    """A tenth of all texts is for the test, in all languages alike; capitals and marks do not
    count, so that "Log in" and "log in." are not on both sides."""
    plain = re.sub(r"[^a-z]+", " ", with_marks(english)[0].lower()).strip()
    return SPLIT[int(hashlib.sha256(plain.encode()).hexdigest()[:8], 16) % len(SPLIT)]


def tidy(text):
    return " ".join(text.split())


def usable(text):
    """Short, with letters, and without markup, notes in brackets or sounds in words."""
    return (
        0 < len(text) <= LONGEST and not re.search(r"[<\[]", text) and re.search(r"[^\W\d_]", text)
    )


def catalogue_texts():
    """(English, language, translation) of all entries of the catalogues, plurals too."""
    import polib

    for package, sha256 in PACKAGES.items():
        files = read_many(package, CATALOGUE.fullmatch, sha256)
        for name in sorted(files):
            language = CATALOGUE.fullmatch(name)[1]
            for entry in polib.pofile(files[name].decode()):
                if entry.obsolete or entry.fuzzy:
                    continue
                plurals = entry.msgstr_plural
                yield entry.msgid, language, plurals[0] if plurals else entry.msgstr
                if plurals:
                    yield entry.msgid_plural, language, plurals[max(plurals)]


def spoken_texts():
    """The same of Asterisk's prompts."""
    said = {}
    for language, sha256 in PROMPTS.items():
        name = f"asterisk-core-sounds-{language}"
        path = f"usr/share/doc/{name}/core-sounds-{language}.txt.gz"
        text = gzip.decompress(read(Debian(name, "1.6.1-1"), path, sha256)).decode()
        lines = [line.partition(": ") for line in text.splitlines() if line[:1] != ";"]
        said[language] = {name: what for name, _, what in lines if not name.startswith(SPELLED)}
    english = said.pop("en")
    for language, prompts in said.items():
        for name, what in prompts.items():
            yield english.get(name, ""), language, what


def read_pairs():
    """[Pair]: the first translation of each text into each language."""
    found = {}
    for spoken, texts in ((False, catalogue_texts()), (True, spoken_texts())):
        for english, language, translation in texts:
            pair = Pair(tidy(english), language, tidy(translation), part_of(english), spoken)
            if usable(pair.english) and usable(pair.translation):
                found.setdefault((pair.english, language), pair)
    return list(found.values())


def learn_pieces(texts, size):
    """Byte pair encoding with `size` pieces in all: the most frequent pair is joined, over and
    over. (A text of all letters that are pieces, [(left, right)] of the pairs.)"""
    words = Counter()
    for text in texts:
        words.update(words_of(with_marks(text)[0]))
    letters = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    known = "".join(letter for letter, count in letters.most_common() if count > 1)
    parts, merges = {word: list(word) for word in words}, []
    pairs, holders = Counter(), {}
    for word, split in parts.items():
        for pair in pairwise(split):
            pairs[pair] += words[word]
            holders.setdefault(pair, set()).add(word)
    while FIRST + len(known) + len(merges) < size:
        pair, count = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if count < 2:
            break
        merges.append(pair)
        for word in sorted(holders.pop(pair)):
            split = parts[word]
            for old in pairwise(split):
                pairs[old] -= words[word]
            joined, at = [], 0
            while at < len(split):
                both = tuple(split[at : at + 2]) == pair
                joined.append("".join(pair) if both else split[at])
                at += 2 if both else 1
            parts[word] = joined
            for new in pairwise(joined):
                pairs[new] += words[word]
                holders.setdefault(new, set()).add(word)
        del pairs[pair]
    return known, merges


def encoded(pairs, pieces):
    """[(language, ids of the English text, ids of the translation)]; holes as the same marks in
    both."""
    found = []
    for pair in pairs:
        english, holes = with_marks(pair.english)
        translation = pair.translation
        for hole, mark in zip(holes, MARKS, strict=False):
            translation = translation.replace(hole, mark)
        row = (pair.language, pieces.encode(english), [*pieces.encode(translation), END])
        found.append(row)
    return found
