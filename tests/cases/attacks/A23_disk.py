# A23 fills the disk and the table of files
def attack():
    import os
    written = 0
    try:
        for number in range(1000):
            with open(f"/tmp/{number}", "wb") as file:
                written += file.write(b"x" * 10_000_000)
    except OSError:
        pass
    try:
        for number in range(200_000):
            open(f"/tmp/empty{number}", "wb").close()
    except OSError:
        pass
    else:
        escaped("files without end")
    if written > 1_000_000_000:
        escaped("disk")
    for name in os.listdir("/tmp"):
        if os.path.isfile(f"/tmp/{name}"):
            os.unlink(f"/tmp/{name}")
