# A14 reads what it should not
def attack():
    import glob, os
    places = ["/etc/shadow", "/etc/hostname", "/root", "/home", "/proc/cmdline", "/var", "/dev/mem", "/.dockerenv", "/sys"]
    for place in places:
        attempt(lambda: os.listdir(place) if os.path.isdir(place) else open(place, "rb").read(1))
    import sys
    for folder in [*sys.path, sys.prefix, os.path.dirname(sys.prefix), "/work", "/"]:
        for pattern in ("**/t10k-labels*", "**/train-labels*", "**/record.json", "**/mnist.toml"):
            if os.path.exists(folder) and folder.count("/") > 3:
                for found in glob.glob(os.path.join(folder, "grader", pattern), recursive=True):
                    escaped(found)
    attempt(lambda: os.listdir("/"))
    try:
        beside = os.listdir(os.path.dirname(sys.prefix))  # where the project may be
    except OSError:
        beside = []
    for name in {"README.md", "pyproject.toml", "tests", ".git"} & set(beside):
        escaped(name)
