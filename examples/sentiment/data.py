# SPDX-License-Identifier: MIT
"""Sentences that some 20 people each rated from -4 to 4, and words that ten rated alone.

Both are in the source distribution of vaderSentiment 3.3.2 (Hutto and Gilbert 2014, MIT licence).
"""

import hashlib
import io
import tarfile
from typing import NamedTuple

import numpy as np
from common.data import SourceArchive, files_of, read

PACKAGE = SourceArchive(
    "vaderSentiment", "3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
)
RATINGS = (
    "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
    "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa",
)
LEXICON = (
    "vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt",
    "1ec9c6e9ee19aade328f8beb393a6afa71a5bb3acf7d3cc22d4ef568df374bf5",
)
GROUPS = {  # what the table calls them: how their files begin
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweets": "tweets",
}
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT = [TRAIN] * 7 + [VALIDATION] + [TEST] * 2


class Sentence(NamedTuple):
    """text; its mean rating; all single ratings; which group and part it belongs to."""

    text: str
    rating: float
    ratings: tuple
    group: str
    part: str


def part_of(group, name):
    """Of a tenth of all names each: the same in every run. The sentences of one review or article
    ("17_3") stay together."""
    document = hashlib.sha256(f"{group} {name.partition('_')[0]}".encode())
    return SPLIT[int(document.hexdigest()[:8], 16) % 10]


def read_sentences():
    """A list of Sentence; of those written twice in a group the first."""
    with tarfile.open(fileobj=io.BytesIO(read(PACKAGE, *RATINGS))) as archive:
        files = files_of(archive)
    found = {}
    for group, start in GROUPS.items():
        lines, raters = (
            files[f"hutto_ICWSM_2014/{start}_{end}.txt"]
            .decode("utf-8-sig")
            .replace("\r", "")
            .split("\n")
            for end in ("GroundTruth", "anonDataRatings")
        )
        single = {}
        for line in filter(str.strip, raters):
            name, _, _, ratings = line.split("\t")
            single[name] = tuple(int(r) for r in ratings.strip("[] ").split(","))
        for line in filter(str.strip, lines):
            name, rating, text = line.split("\t")
            found.setdefault(
                (group, text),
                Sentence(text, float(rating), single[name], group, part_of(start, name)),
            )
    return list(found.values())


def read_lexicon():
    """{word or face: its mean rating}, in the file's order."""
    lines = read(PACKAGE, *LEXICON).decode().split("\n")
    return {line.split("\t")[0]: float(line.split("\t")[1]) for line in lines if line.strip()}


def one_rater(sentences, seed=0):
    """(a single rating of each sentence, the mean of its other ratings): what one person's word is
    worth."""
    rng = np.random.default_rng(seed)
    one = np.array([rng.choice(s.ratings) for s in sentences], np.float64)
    total = np.array([sum(s.ratings) for s in sentences])
    count = np.array([len(s.ratings) for s in sentences])
    return one, (total - one) / (count - 1)
