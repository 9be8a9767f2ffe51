# A08 leaves a daemon behind
def attack():
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for handle in range(20):
                try:
                    os.close(handle)
                except OSError:
                    pass
            time.sleep(600)
        os._exit(0)
