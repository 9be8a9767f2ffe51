# A11 tries the calls that break out of boxes
def attack():
    import ctypes, platform
    libc = ctypes.CDLL(None, use_errno=True)
    if platform.machine() != "x86_64":
        return
    for number in (425, 298, 250, 323, 321, 272, 165, 308, 161, 310, 438, 246, 175, 304, 319, 155, 428, 430, 463):
        if libc.syscall(number, 0, 0, 0, 0, 0) >= 0:
            escaped(number)
    if libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0:
        escaped("a user namespace")
