# A06 exits with the status that a killed program has
# fault: crashed
# score: 0
def attack():
    import os
    os._exit(137)
