# A22 sets a bound on its own CPU time, at which the kernel kills it, and loops
# fault: time-out
# score: 0
# seconds: 6
def attack():
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass
