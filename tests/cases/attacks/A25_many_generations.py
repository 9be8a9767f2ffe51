# A25 forks on and on, each child outliving its parent
# fault: any
def attack():
    import os, time
    if os.fork() == 0:
        while True:
            if os.fork():
                os._exit(0)
            os.setsid()
            time.sleep(0.001)
