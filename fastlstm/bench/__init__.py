# SPDX-License-Identifier: MIT
"""`fastlstm bench`: fastlstm beside other engines, on the same weights in the same run.

command.py   the command line            cases.py    kinds of case, suites, targets
passes.py    a run, pass by pass         measure.py  an entry and its samples, in rounds
forward.py   one dense case, every engine
special.py   ragged, subnormal, contended
whole.py     one file of a whole model    models.py    their cases and targets
networks.py  models exported for it       fetch.py     files out of packages
training.py  forward and backward        kernels.py  the C step, Python's share of a call
probes.py    memory, import, wheel       peers/      one module for each engine
shapes.py    shapes and sweeps           model.py    weights, inputs, the float64 reference
machine.py   the machine and its limits  stats.py    medians, ratios, when not to believe them
rows.py      a row, a run, their JSON    tables.py   Markdown, CSV, what moved between two runs
plots.py     what the plots show         figures.py  their drawing: SVG and PNG
page.py      the HTML page
"""
