# A22 closes all its pipes and stays
# fault: any
# score: 0
# seconds: 6
def attack():
    import os, time
    os.closerange(0, 100)
    time.sleep(600)
