# A23 forks as fast as it can
# fault: any
# seconds: 8
def attack():
    import os
    while True:
        try:
            os.fork()
        except OSError:
            pass
