# A09 looks for something to hear, or somebody to speak to, on all descriptors
def attack():
    import fcntl, os
    for descriptor in [0, *range(3, 256)]:
        try:
            kind = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:
            continue
        if kind != os.O_WRONLY and os.read(descriptor, 1):
            escaped(descriptor)
