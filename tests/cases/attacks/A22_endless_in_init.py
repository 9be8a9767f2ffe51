# A22 never ends while it is built
# fault: time-out
# score: 0
# seconds: 6
def attack():
    while True:
        pass
