"""What stands in for the command: hands its streams to the server, ends as the command ends."""

import json
import os
import signal
import socket
import sys


def main(path: str, *arguments: str) -> int:
    mask = os.umask(0)
    os.umask(mask)
    where = os.getcwd()  # noqa: PTH109 (pathlib takes longer to import than all else here)
    asked = json.dumps(
        {"argv": arguments, "cwd": where, "environ": dict(os.environ), "umask": mask}
    ).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(asked)
        status = int.from_bytes(server.recv(4), "big")
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
        signal.pause()
    return os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
