# A16 calls home
def attack():
    import socket, urllib.request
    for address in (("127.0.0.1", 22), ("127.0.0.1", 80), ("1.1.1.1", 53), ("169.254.169.254", 80)):
        attempt(lambda: socket.create_connection(address, timeout=1))
    attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("1.1.1.1", 53)))
    attempt(lambda: urllib.request.urlopen("http://example.com", timeout=1))
    attempt(lambda: socket.getaddrinfo("example.com", 80))
    attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0dbus"))
    attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
