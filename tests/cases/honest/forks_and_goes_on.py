# forks a helper that raises an error and would go on where its parent does
def attack():
    import os
    if os.fork() == 0:
        raise RuntimeError("of the helper alone")
    assert os.wait()[1] == 0
