"""talk WAY HOST - for each line of standard input a question on one and the same connection, and its answer to standard
output. Ways: http (kept alive, /word whatever the line), streams (asyncio's, to the server that echoes)."""

import asyncio
import http.client
import sys

way, host = sys.argv[1:]


def by_http():
    peer = http.client.HTTPConnection(host)
    for _ in sys.stdin:
        peer.request("GET", "/word")
        sys.stdout.write(peer.getresponse().read().decode())
        sys.stdout.flush()


async def by_streams():
    reader, writer = await asyncio.open_connection(host, 7)
    # Lines are read in another thread: the loop keeps its eye on the connection meanwhile.
    while line := await asyncio.to_thread(sys.stdin.readline):
        writer.write(line.encode())
        sys.stdout.write((await reader.readline()).decode())
        sys.stdout.flush()
    writer.close()


by_http() if way == "http" else asyncio.run(by_streams())
