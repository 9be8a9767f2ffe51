# A24 tells an error of megabytes in a frame of its own
# fault: error
# score: 0
# told: description is not valid
def attack():
    import os
    error = b'{"error":{"kind":"a","message":"' + b"x" * 30_000_000 + b'","where":"","help":""}}'
    for descriptor in range(3, 20):
        left = len(error).to_bytes(8, "big") + error
        try:
            while left:
                left = left[os.write(descriptor, left):]
        except OSError:
            pass
    os._exit(0)
