# A09 writes an answer of its own to every descriptor it can find
# fault: any
# score: 0
def attack():
    import json, os
    answer = json.dumps({"description": {"score": 100}}).encode()
    frame = len(answer).to_bytes(8, "big") + answer
    for handle in range(1, 100):
        try:
            os.write(handle, frame)
        except OSError:
            pass
    os._exit(0)
