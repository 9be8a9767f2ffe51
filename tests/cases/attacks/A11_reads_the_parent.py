# A11 reads the memory of its parent and traces it
def attack():
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in {os.getppid(), 1, os.getpid() - 1}:
        attempt(lambda: open(f"/proc/{pid}/mem", "rb").read(1))
        attempt(lambda: open(f"/proc/{pid}/environ", "rb").read())
        attempt(lambda: os.listdir(f"/proc/{pid}/fd"))
        attempt(lambda: open(f"/proc/{pid}/root/etc/hostname").read())
        if libc.ptrace(16, pid, 0, 0) == 0:
            escaped("ptrace")
    if len([name for name in os.listdir("/proc") if name.isdigit()]) > 3:
        escaped("processes of others")
