# A09 puts a frame before its own
# fault: suspicious
# score: 0
def attack():
    import os
    for handle in range(3, 100):
        try:
            os.write(handle, (2).to_bytes(8, "big") + b"{}")
        except OSError:
            pass
