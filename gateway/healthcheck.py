"""`python -m gateway.healthcheck [HOST:PORT]`: exit status 0 while the node on this machine is alive.

For images without curl. It runs every few seconds beside live audio, so it loads neither the gateway nor an
HTTP library: a whole run costs as much as starting Python does.
"""

import socket
import sys

SECONDS = 2.0


def main(address: str = "127.0.0.1:8080") -> int:
    """0 if `/healthz` of `web.listen` says 200; else 1, and a line that says what it said."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            status = connection.recv(64).split(b"\r\n", 1)[0].decode("ascii", "replace")
    except (OSError, ValueError) as error:
        status = str(error)
    if status.split()[1:2] == ["200"]:
        return 0
    print(f"not alive: {address} says {status or 'nothing'}", file=sys.stderr)  # noqa: T201 - for the engine's log
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
