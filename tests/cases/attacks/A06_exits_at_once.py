# A06 leaves with success and without clean-up
# fault: crashed
# score: 0
def attack():
    import os
    os._exit(0)
