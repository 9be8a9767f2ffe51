# A06 leaves something to do at exit
def attack():
    import atexit, os
    atexit.register(lambda: os.write(1, b"all passed"))
    atexit.register(lambda: os._exit(0))
