# A23 takes memory in ways that show in no process: shared, anonymous, in kernel objects
# fault: any
def attack():
    import ctypes, mmap, os
    attempt(lambda: mmap.mmap(-1, 3_000_000_000))
    attempt(lambda: os.memfd_create("x"))
    attempt(lambda: open("/dev/zero", "r+b"))
    if ctypes.CDLL(None).shmget(0, 3_000_000_000, 0o1600) >= 0:
        escaped("shmget")
