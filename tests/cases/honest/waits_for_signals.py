# installs handlers for signals, and gives them back
def attack():
    import signal
    for name in ("SIGCHLD", "SIGINT", "SIGTERM", "SIGUSR1"):
        number = getattr(signal, name)
        signal.signal(number, signal.signal(number, lambda *_: None))
