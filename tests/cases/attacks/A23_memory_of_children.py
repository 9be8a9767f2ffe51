# A23 takes the memory through children, each of which stays small enough
# fault: out-of-memory
# score: 0
# megabytes: 1500
def attack():
    import os, time
    for _ in range(8):
        if os.fork() == 0:
            held = bytearray(300_000_000)
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(600)
    time.sleep(600)
