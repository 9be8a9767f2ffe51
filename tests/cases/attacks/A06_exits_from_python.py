# A06 leaves with success
# fault: error
# score: 0
def attack():
    import sys
    sys.exit(0)
