# A22 stops its own process
# fault: time-out
# score: 0
# seconds: 6
def attack():
    import os, signal
    os.kill(os.getpid(), signal.SIGSTOP)
