# SPDX-License-Identifier: MIT
"""`fastlstm bench`: fastlstm beside other engines, on the same weights in the same run.

command.py   the command line            cases.py    suites, and the targets of each case
shapes.py    shapes and sweeps           model.py    weights, inputs, the float64 reference
peers/       one module for each engine  measure.py  rounds; stats.py, what is made of them
passes.py    a run, pass by pass         forward.py  one dense case, every engine
special.py   ragged, subnormal, contended
training.py  forward and backward        kernels.py  the C step, Python's share of a call
probes.py    memory, import, wheel       machine.py  the machine and its limits
rows.py      a row, its JSON             tables.py   Markdown, CSV, what moved between two runs
page.py      the HTML page               charts.py   its plots in SVG; png.py the same in PNG
"""
