# SPDX-License-Identifier: MIT
"""`fastlstm serve`: a model's streams over WebSockets. Needs pip install fastlstm[serve].

served.py  a model, its pool, and what is a frame     app.py   the ASGI application
run.py     uvicorn around it, and a clean end         page.html   the page at /
"""
