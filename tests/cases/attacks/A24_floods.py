# A24 prints without end, on both streams
def attack():
    import os
    for _ in range(3000):
        os.write(1, b"x" * 65_536)
        os.write(2, b"\x1b]0;title\x07" * 1000)
