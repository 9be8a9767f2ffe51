# A24 floods the channel its answer goes through
# fault: flooded
# score: 0
def attack():
    import os
    import stat
    channels = [h for h in range(3, 50) if _is_pipe(h)]
    while True:
        for handle in channels:
            os.write(handle, b"x" * 1_000_000)
def _is_pipe(handle):
    import os, stat
    try:
        return stat.S_ISFIFO(os.fstat(handle).st_mode)
    except OSError:
        return False
