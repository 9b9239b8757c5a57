"""fetch WAY HOST PATH - an HTTP request by Python's own means, to standard output. ways: urllib, asyncio."""

import asyncio
import sys
import urllib.request

way, host, path = sys.argv[1:]


async def by_streams():
    reader, writer = await asyncio.open_connection(host, 80)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    sys.stdout.buffer.write(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()


if way == "urllib":
    with urllib.request.urlopen(f"http://{host}{path}") as answer:
        sys.stdout.buffer.write(answer.read())
else:
    asyncio.run(by_streams())
