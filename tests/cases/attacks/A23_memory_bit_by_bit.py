# A23 takes all the memory there is, a little at a time
# fault: out-of-memory
# score: 0
# megabytes: 1500
def attack():
    held = []
    while True:
        held.append(bytearray(10_000_000))
