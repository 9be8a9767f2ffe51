# A25 leaves a daemon behind that is another program, in another session, with no environment
def attack():
    import os, sys
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)  # left"], {})
        os._exit(0)
