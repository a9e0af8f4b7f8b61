#!/usr/bin/env python3
"""A WebSocket server that sends back what it gets, and its client. Usage:

    talk.py serve ADDRESS
    talk.py ask ADDRESS deflate|plain FILE OUT    says lines of the file, and writes each message to OUT.N
"""
import asyncio
import sys

import websockets


async def serve(address):
    async def echo(socket, *_):
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(echo, address, 80):
        await asyncio.Future()


async def ask(address, how, path, out):
    text = open(path, "rb").read()
    messages = ["hello", "hello again, hello again", text[:3000].decode(), text[1500:4500], b"", "hello again, the last"]
    compression = "deflate" if how == "deflate" else None
    uri = "ws://socket.example/talk"
    async with websockets.connect(uri, host=address, port=80, compression=compression) as socket:
        for n, message in enumerate(messages):
            # The first in fragments.
            await socket.send([message[:2], message[2:]] if n == 0 else message)
            assert await socket.recv() == message
            with open(f"{out}.{n}", "wb") as file:
                file.write(message if isinstance(message, bytes) else message.encode())


asyncio.run(serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(*sys.argv[2:]))
