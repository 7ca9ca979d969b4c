#!/usr/bin/env python3
"""Deletes the stream ODIN on 127.0.0.1:4222, if there is one: a benchmark starts with an empty stream."""
import socket

with socket.create_connection(("127.0.0.1", 4222), timeout=10) as nats:
    # A request as core NATS has it: the answer comes on the inbox we subscribe to, the PONG after it.
    nats.sendall(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.DELETE.ODIN answer 0\r\n\r\n')
    answer = b""
    while b"MSG answer" not in answer or not answer.endswith(b"}\r\n"):
        part = nats.recv(4096)
        if not part:
            raise SystemExit("nats-server closed the connection")
        answer += part
