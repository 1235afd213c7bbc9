# SPDX-License-Identifier: MIT
"""`fastlstm serve`: a model's streams over WebSockets. Needs pip install fastlstm[serve].

served.py   a model, its pool, and what is a frame    app.py     the ASGI application
batches.py  frames of many connections, stepped       direct.py  whole frames past ASGI
sockets.py  the sockets of these, read by one epoll   workers.py several processes, one port
run.py      uvicorn around it, and a clean end        page.html  the page at /
"""
