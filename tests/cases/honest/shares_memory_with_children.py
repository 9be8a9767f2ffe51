# has a large table that forked children read, each showing it as its own
# megabytes: 1500
def attack():
    import os, time
    table = torch.ones(50_000_000)
    children = [pid for pid in (os.fork() for _ in range(6)) if pid or os._exit(time.sleep(0.5) or 0)]
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
    del table
