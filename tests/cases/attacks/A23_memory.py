# A23 takes all the memory there is, at once
# fault: out-of-memory
# score: 0
# megabytes: 1500
def attack():
    return bytearray(40_000_000_000)
