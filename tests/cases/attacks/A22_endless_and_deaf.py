# A22 sleeps for ever and blocks every signal it may
# fault: time-out
# score: 0
# seconds: 6
def attack():
    import signal, time
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        time.sleep(1)
