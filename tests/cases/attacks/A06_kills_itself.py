# A06 ends itself in a way that looks like the work of somebody else
# fault: crashed
# score: 0
def attack():
    import os
    import signal
    os.kill(os.getpid(), signal.SIGKILL)
