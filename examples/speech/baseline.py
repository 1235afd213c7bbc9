# SPDX-License-Identifier: MIT
"""Connected words by dynamic time warping, as it was done before networks (Sakoe, Ney): the
cheapest way through a sequence of templates, one for each word, and one for silence."""

import numpy as np

from speech.deploy import WORDS


def scaled(cepstra):
    """Cepstra less their mean over the whole utterance, over their deviation."""
    return (cepstra - cepstra.mean(0)) / (cepstra.std(0) + 1e-9)


class Warper:
    """templates: [(word or None, cepstra (T, 13))]; None is silence, which is not reported.

    penalty   what a new word costs, in units of a frame's distance
    """

    def __init__(self, templates, penalty):
        self.words = [word for word, _ in templates]
        self.frames = np.concatenate([frames for _, frames in templates])
        sizes = np.array([len(frames) for _, frames in templates])
        self.ends = np.cumsum(sizes) - 1
        self.starts = self.ends - sizes + 1
        self.penalty = penalty

    def recognise(self, cepstra):
        x, count = scaled(cepstra), len(self.frames)
        squares = ((x[:, None] - self.frames) ** 2).sum(-1)
        distance = np.sqrt(squares)
        cost, begun = np.full(count, np.inf), np.zeros(count, int)
        best_before, path = 0.0, []
        for t, own in enumerate(distance):
            # Each template's frame follows itself, the one before or the one before that.
            options = np.full((3, count), np.inf)
            options[0], options[1, 1:], options[2, 2:] = cost, cost[:-1], cost[:-2]
            options[1, self.starts], options[2, self.starts] = np.inf, np.inf
            second = self.starts + 1
            options[2, second[second < count]] = np.inf
            choice = options.argmin(0)
            new = options[choice, np.arange(count)]
            begun = begun[np.maximum(np.arange(count) - choice, 0)]
            enter = best_before + self.penalty
            fresh = enter < new[self.starts]
            at = self.starts[fresh]
            new[at], begun[at] = enter, t
            cost = new + own
            word = int(cost[self.ends].argmin())
            best_before = float(cost[self.ends[word]])
            path.append((word, int(begun[self.ends[word]])))
        found, t = [], len(path) - 1
        while t >= 0:
            word, start = path[t]
            if self.words[word] is not None:
                found.append(self.words[word])
            t = start - 1
        return found[::-1]


def templates_of(words, silence):
    """From {word: cepstra} of one speaker, scaled together; silence is one frame that stays."""
    every = np.concatenate(list(words.values()))
    centre, scale = every.mean(0), every.std(0)
    known = [(word, (words[word] - centre) / scale) for word in WORDS]
    return [*known, (None, ((silence - centre) / scale)[None])]
