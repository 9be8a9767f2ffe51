# A16 tries every family of sockets, and to reach others by a pair it may have
def attack():
    import itertools, socket
    for family, kind in itertools.product(range(46), (1, 2, 3, 5)):
        attempt(lambda: socket.socket(family, kind))
        if family != socket.AF_UNIX:
            attempt(lambda: socket.socketpair(family, kind))
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        mine, _ = socket.socketpair(socket.AF_UNIX, kind)
        for address in ("\0dbus", "/run/docker.sock", "/run/dbus/system_bus_socket"):
            attempt(lambda: mine.connect(address))
            attempt(lambda: mine.sendto(b"x", address))
