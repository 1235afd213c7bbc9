# SPDX-License-Identifier: MIT
"""The S&P 500's daily prices from 1999 to 2018, out of the wheel of arch 8.0.0."""

import csv
import gzip
import io

import numpy as np
from common.data import Wheel, read

from stocks.deploy import YEAR, series

FILE = (
    Wheel("arch", "8.0.0"),
    "arch/data/sp500/sp500.csv.gz",
    "1e028cbb9c400cc018c816ccc439b33c919387e726c3ed5ca2c05c82746059de",
)
FIRST, LAST = 2004, YEAR  # years that are forecast
SCALED = 2003  # features are scaled by their mean and deviation over the days up to its end


class Market:
    """Day t tells features x[t]; what is forecast is the next day's return y[t], in percent, of the
    year year[t]. ranges[t] is the day's own Parkinson variance. T - 2 of the file's T days: the
    first has no return, the last no tomorrow.
    """

    def __init__(self):
        text = gzip.decompress(read(*FILE)).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        self.days = [tuple(float(row[name]) for name in ("High", "Low", "Close")) for row in rows]
        years = np.array([int(row["Date"].split("/")[2]) for row in rows])
        high, low, close = np.array(self.days).T
        self.returns = 100 * np.diff(np.log(close))
        self.x = series(self.days)[:-1]
        self.y, self.year = self.returns[1:], years[2:]
        ranges = (100 * np.log(high / low)) ** 2 / (4 * np.log(2))
        self.ranges = np.maximum(ranges, 1e-3)[1:-1]
